"""Announce what a trial does apart from training: it is evaluated, or it stops."""

import threading
from types import TracebackType
from typing import Self

from objective.events.fanout import Sinks
from objective.events.types import Phase
from objective.runtime.signals import Interruption

LOOK_S = 0.1  # between two looks whether the trial should stop


class Phases:
    """The phases of one trial as events. A context manager, for as long as the trial runs.

    A trial stops between two updates or after its evaluation, which may take a minute. That it is going to is announced at
    once, by a thread of its own: a signal's handler must not wait for a display.
    """

    def __init__(self, number: int, sinks: Sinks, interruption: Interruption) -> None:
        self.number, self.sinks, self.interruption = number, sinks, interruption
        self.evaluates = False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._announce_stop, name=f"trial-{number}", daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._watch.join()

    def evaluating(self, what: str) -> None:
        self.evaluates = True
        self.sinks.emit(Phase(self.number, f"evaluating: {what}"))

    def _announce_stop(self) -> None:
        while not self._over.wait(LOOK_S):
            if self.interruption.reason is not None:
                end = "after its evaluation" if self.evaluates else "saving its snapshot"
                self.sinks.emit(Phase(self.number, f"stopping: {end} ({self.interruption.reason})", stopping=True))
                return
