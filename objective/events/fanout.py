"""Hand every event to every sink. A sink may fail; the trial continues without it."""

import logging
from collections.abc import Callable, Iterable
from threading import RLock
from types import TracebackType
from typing import Self

from objective.events.types import Event, Sink

log = logging.getLogger(__name__)


class Sinks:
    """A sink that hands each event to all of `sinks`, in order. One that raises is closed and never called again.

    A context manager, so that the terminal is given back whatever happens inside.
    """

    name = "sinks"

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._live = list(sinks)
        self._turn = RLock()  # other threads emit, too: the watch over the views, the phases of a trial

    def emit(self, event: Event) -> None:
        with self._turn:
            for sink in tuple(self._live):
                if not _succeeds(sink, lambda sink=sink: sink.emit(event)):  # type: ignore[misc]
                    self._live.remove(sink)
                    _succeeds(sink, sink.close)

    def close(self) -> None:
        """Close each sink once, the last one first. A second call does nothing."""
        with self._turn:
            while self._live:
                sink = self._live.pop()
                _succeeds(sink, sink.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _succeeds(sink: Sink, call: Callable[[], None]) -> bool:
    try:
        call()
    # Broad on purpose: a lost network or terminal must not cost hours of training. rich raises SystemExit for a closed pipe.
    except (Exception, SystemExit) as error:
        log.warning("%s is muted for the rest of the run: %s: %s", sink.name, type(error).__name__, error)
        log.debug("%s raised here", sink.name, exc_info=True)
        return False
    return True
