"""Supervise the workers of one command, whether they are processes of this machine or actors on a cluster.

A crashed worker is restarted, after a longer pause each time, and in the end no more. The supervisor follows the events of its
workers, so that it can report the end of a trial whose worker died.
"""

import time
from collections.abc import Sequence

from objective.display.formatting import duration
from objective.events.fanout import Sinks
from objective.events.types import Event, Progressed, TrialEnded, TrialStarted, Warned
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.schema import Settings
from storage.paths import trial_folder

RELEASE_S = 30.0  # for a worker to release its trial after a stop was requested
MAX_CRASHES = 5  # of a worker without a finished trial in between, after which it is not restarted
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0  # before a crashed worker is restarted, doubling
PROGRESS_S = 0.2  # between two progress events that a worker sends


class SupervisedWorker:
    """One worker as its command sees it, together with those that replace it after a crash."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.number, self.settings = number, settings
        self.log = settings.folder / f"worker-{number}.log"
        self.end: StopReason | None = None
        self.running: TrialStarted | None = None
        self.due, self.wait, self.crashes = 0.0, FIRST_WAIT_S, 0

    def receive(self, event: Event, sinks: Sinks) -> None:
        """Pass on an event of the worker, and note which trial it runs."""
        sinks.emit(event)
        if isinstance(event, TrialStarted):
            self.running = event
        elif isinstance(event, TrialEnded):
            self.running = None
            if event.state != "FAIL":
                self.crashes, self.wait = 0, FIRST_WAIT_S

    def crashed(self, message: str, action: str, sinks: Sinks) -> None:
        """End its trial, and schedule the next start, unless it has crashed too often.

        message: what happened. action: what follows after a pause, such as "restarts".
        """
        if self.running is not None:
            sinks.emit(_lost(self.running, self.settings))
            self.running = None
        self.crashes += 1
        message = f"{message}: see {self.log}"
        if self.crashes >= MAX_CRASHES:
            self.end = StopReason(f"{message}: it crashed {MAX_CRASHES} times without finishing a trial", 1)
            sinks.emit(Warned(self.end.reason))
            return
        sinks.emit(Warned(f"{message}: it {action} in {duration(self.wait)}"))
        self.due, self.wait = time.monotonic() + self.wait, min(2 * self.wait, LAST_WAIT_S)


def outcome(workers: Sequence[SupervisedWorker], interruption: Interruption) -> StopReason:
    """Return why all workers have stopped: the reason of one that ended regularly, else that of the first one."""
    if interruption.reason is not None:
        return StopReason(interruption.reason, 130 if interruption.requested else 0, early=True)
    ends = [worker.end for worker in workers if worker.end is not None]
    return next((end for end in ends if end.code == 0), ends[0])


class ProgressThrottle:
    """Selects the events that a worker sends: all of them, except that progress is sent only a few times per second."""

    def __init__(self) -> None:
        self.last_sent = 0.0

    def sends(self, event: Event) -> bool:
        if not isinstance(event, Progressed):
            return True
        now = time.monotonic()
        if now - self.last_sent < PROGRESS_S:
            return False
        self.last_sent = now
        return True


def _lost(running: TrialStarted, settings: Settings) -> TrialEnded:
    """The end of a trial whose worker died and can no longer report it."""
    folder = trial_folder(settings.folder, running.number)
    return TrialEnded(
        number=running.number,
        state="FAIL",
        value=None,
        reason="its worker died",
        pruned_by=None,
        violations={},
        seconds=0.0,
        kframes=0.0,
        saved_kframes=0.0,
        folder=folder,
        last=None,
    )
