"""Ctrl-C, SIGTERM and a closed terminal: the first asks for a clean end, the second ends at once."""
import signal
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(Exception):
    """The person, or the machine, wants the worker to stop."""


class Interruption:
    """Remembers a signal until the work is at a point where it can stop. A context manager: it restores the handlers.

    Before `patient` is set nothing is at work that could be lost, so the first signal, too, raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.patient = False
        self.requested = False

    def __enter__(self) -> "Interruption":
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup says: not SIGHUP
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        if self.requested:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self.patient:
            raise KeyboardInterrupt
        self.requested = True
