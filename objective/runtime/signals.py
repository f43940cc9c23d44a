"""What ends a worker in the middle of a trial: Ctrl-C, SIGTERM, a closed terminal, and the time that it was given."""

import signal
import time
from collections.abc import Callable
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

NAP_S = 0.1  # between two looks whether somebody asked for a stop


class Interrupted(Exception):
    """The person, or the machine, wants the worker to stop."""


class Interruption:
    """Remembers a signal until the work is at a point where it can stop. A context manager: it restores the handlers.

    Before `patient` is set nothing is at work that could be lost, so the first signal, too, raises KeyboardInterrupt; so does
    any second one, unless a supervisor is there to end who is `deaf` to it: a signal to a whole group reaches a worker twice.
    Who is deaf and was asked stays so, since Python takes a moment to end.
    `allow` sets a time after which the work should stop as well.
    """

    def __init__(self, deaf: bool = False) -> None:
        self.patient = self.deaf = deaf
        self.asked = False
        self.also: Callable[[], None] = lambda: None  # called when it is asked, also in a signal's handler
        self._deadline: tuple[float, float] | None = None  # clock, and the seconds that it was set to

    def __enter__(self) -> "Interruption":
        heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup says: not SIGHUP
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.deaf and self.asked else handler)

    def allow(self, seconds: float | None) -> None:
        """From now on, so many seconds."""
        self._deadline = None if seconds is None else (time.monotonic() + seconds, seconds)

    @property
    def why(self) -> str | None:
        """The words in which the work should stop, or None where it may go on."""
        if self.asked:
            return "interrupted"
        if self._deadline is not None and time.monotonic() >= self._deadline[0]:
            return f"time is up after {self._deadline[1]:g} s"
        return None

    def check(self) -> None:
        if self.why is not None:
            raise Interrupted(self.why)

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, or until the work should stop."""
        until = time.monotonic() + seconds
        while self.why is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, NAP_S))

    def ask(self) -> None:
        """Somebody wants the work to stop. Good for a signal's handler: nothing in here waits for a lock."""
        self.asked = True
        self.also()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.patient or (self.asked and not self.deaf):
            raise KeyboardInterrupt
        self.ask()
