"""A sink that dies takes nothing with it."""

import logging

import pytest

from objective.events.fanout import Sinks
from objective.events.types import Event
from tests.objective import samples


class Fragile:
    """A sink that works until its `last` event."""

    def __init__(self, name: str, last: int) -> None:
        self.name = name
        self.last = last
        self.calls: list[str] = []

    def emit(self, event: Event) -> None:
        self.calls.append(type(event).__name__)
        if len(self.calls) > self.last:
            raise ConnectionError("the network is gone")

    def close(self) -> None:
        self.calls.append("close")


def test_a_sink_that_raises_is_closed_and_the_others_continue(caplog: pytest.LogCaptureFixture) -> None:
    first, weak, third = Fragile("first", 99), Fragile("weak", 1), Fragile("third", 99)
    with caplog.at_level(logging.INFO), Sinks([first, weak, third]) as sinks:
        for event in samples.events():
            sinks.emit(event)
    everything = [type(event).__name__ for event in samples.events()]
    assert first.calls == third.calls == [*everything, "close"]
    assert weak.calls == [*everything[:2], "close"]
    assert caplog.messages == ["weak is muted for the rest of the run: ConnectionError: the network is gone"]


def test_a_sink_that_cannot_close_keeps_no_other_from_closing() -> None:
    class Stuck(Fragile):
        def close(self) -> None:
            raise OSError("device busy")

    first, last = Fragile("first", 99), Fragile("last", 99)
    sinks = Sinks([first, Stuck("stuck", 99), last])
    sinks.close()
    sinks.close()
    assert first.calls == last.calls == ["close"]


def test_an_interrupt_passes_through_a_sink() -> None:
    class Slow(Fragile):
        def emit(self, event: Event) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sinks([Slow("slow", 0)]).emit(samples.study_started())
