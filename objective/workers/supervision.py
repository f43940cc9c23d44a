"""A crew: the workers that one command runs, whether they are processes of this machine or have places in a cluster.

One that crashes is started again, later each time, and at last no more. What a worker says is followed, so that the trial of
one that died is known to be over.
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

PATIENCE_S = 30.0  # that a worker has to release its trial after it was asked to stop
CRASHES = 5  # of a worker with no trial finished in between, after which it stays away
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0  # before a crashed worker is started again
PROGRESS_S = 0.2  # between two signs of progress that a worker sends


class SupervisedWorker:
    """One worker as its command sees it, and those that follow it where it crashes."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.number, self.settings = number, settings
        self.log = settings.folder / f"worker-{number}.log"
        self.end: StopReason | None = None
        self.running: TrialStarted | None = None
        self.due, self.wait, self.crashes = 0.0, FIRST_WAIT_S, 0

    def hear(self, said: Event, sinks: Sinks) -> None:
        sinks.emit(said)
        if isinstance(said, TrialStarted):
            self.running = said
        elif isinstance(said, TrialEnded):
            self.running = None
            if said.state != "FAIL":
                self.crashes, self.wait = 0, FIRST_WAIT_S

    def crashed(self, said: str, again: str, sinks: Sinks) -> None:
        """Its trial is over; it is due to be started `again` in a while, or stays away."""
        if self.running is not None:
            sinks.emit(_lost(self.running, self.settings))
            self.running = None
        self.crashes += 1
        said = f"{said}: see {self.log}"
        if self.crashes >= CRASHES:
            self.end = StopReason(f"{said}: it crashed {CRASHES} times without finishing a trial", 1)
            sinks.emit(Warned(self.end.why))
            return
        sinks.emit(Warned(f"{said}: it {again} in {duration(self.wait)}"))
        self.due, self.wait = time.monotonic() + self.wait, min(2 * self.wait, LAST_WAIT_S)


def outcome(crew: Sequence[SupervisedWorker], interruption: Interruption) -> StopReason:
    """Why they have stopped, all together: one that found the study done knows best."""
    if interruption.why is not None:
        return StopReason(interruption.why, 130 if interruption.asked else 0, early=True)
    ends = [member.end for member in crew if member.end is not None]
    return next((end for end in ends if end.code == 0), ends[0])


class ProgressThrottle:
    """Which events a worker sends: all, but of the many signs of progress a few each second."""

    def __init__(self) -> None:
        self.progressed = 0.0

    def sends(self, event: Event) -> bool:
        if not isinstance(event, Progressed):
            return True
        now = time.monotonic()
        if now - self.progressed < PROGRESS_S:
            return False
        self.progressed = now
        return True


def _lost(running: TrialStarted, settings: Settings) -> TrialEnded:
    """The end of a trial whose worker can no longer say it."""
    folder = trial_folder(settings.folder, running.number)
    return TrialEnded(running.number, "FAIL", None, "its worker died", None, {}, 0.0, 0.0, 0.0, folder, last=None)
