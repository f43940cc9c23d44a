"""Stop a worker in the middle of a trial: on Ctrl-C, SIGTERM or a closed terminal, or when its time is up."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import FrameType
from typing import Self

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
NAP_S = 0.1  # between two checks for a stop while waiting
STOPPING = (
    "stopping: the running trial saves its snapshot, or ends its evaluation; press Ctrl-C again to stop at once "
    "(its progress since the last snapshot is lost)"
)


class Interrupted(Exception):
    """The worker should stop, because of a signal or because its time is up."""


class Interruption:
    """Remembers a signal until the work reaches a point where it can stop. A context manager: it restores the handlers.

    The first signal raises KeyboardInterrupt as long as `graceful` is not set, because there is nothing to lose yet. A second
    signal always does, unless the process is `supervised`: a supervisor ends it if need be, and a signal to the whole process
    group reaches a worker twice. A supervised process whose stop was requested ignores signals even after the block has
    ended, since Python takes a moment to exit. `stop_after` sets a time after which the work should stop as well.
    """

    def __init__(self, supervised: bool = False) -> None:
        self.graceful = self.supervised = supervised
        self.requested = False
        self.on_request: Callable[[], None] = lambda: None  # called when a stop is requested, also in a signal handler
        self.notice_fd: int | None = None  # of the `StopNotice`, written to when a signal requests a stop
        self._deadline: tuple[float, float] | None = None  # clock, and the seconds that it was set to

    def __enter__(self) -> Self:
        handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
        self._before = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.supervised and self.requested else handler)

    def stop_after(self, seconds: float | None) -> None:
        """Limit the work to so many seconds from now; None: no limit."""
        self._deadline = None if seconds is None else (time.monotonic() + seconds, seconds)

    @property
    def reason(self) -> str | None:
        """The reason why the work should stop, or None where it may continue."""
        if self.requested:
            return "interrupted"
        if self._deadline is not None and time.monotonic() >= self._deadline[0]:
            return f"time is up after {self._deadline[1]:g} s"
        return None

    def check(self) -> None:
        """Raise Interrupted where the work should stop."""
        if self.reason is not None:
            raise Interrupted(self.reason)

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the work should stop."""
        until = time.monotonic() + seconds
        while self.reason is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, NAP_S))

    def request(self) -> None:
        """Request a stop. Safe in a signal handler: it acquires no lock."""
        self.requested = True
        self.on_request()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.graceful or (self.requested and not self.supervised):
            raise KeyboardInterrupt
        if self.notice_fd is not None:
            os.write(self.notice_fd, b"\0")
        self.request()


class StopNotice:
    """Prints one line to stderr as soon as a signal requests a stop, since saving a snapshot may take seconds.

    A context manager. The handler only writes to a pipe, and a thread prints: printing may need a lock that the interrupted
    code holds, and on a terminal sys.stderr belongs to the live display.
    """

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        self._thread = Thread(target=self._print, name="stop notice", daemon=True)
        self._thread.start()
        self.interruption.notice_fd = self._write
        return self

    def __exit__(self, *_: object) -> None:
        self.interruption.notice_fd = None
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def _print(self) -> None:
        if os.read(self._read, 1):  # empty where the pipe was closed without a signal
            with suppress(OSError):  # stderr may be closed
                print(STOPPING, file=sys.stderr, flush=True)
