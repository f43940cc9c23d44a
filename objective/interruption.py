"""Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once."""
import signal
from types import FrameType


class Interrupted(Exception):
    """The person, or the machine, wants the worker to stop."""


class Interruption:
    """Remembers a signal until the work is at a point where it can stop. A context manager: it restores the handlers."""

    def __init__(self) -> None:
        self.requested = False
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> "Interruption":
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        if self.requested:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
