"""A trial announces what it does apart from training, and at once that it stops."""

import threading

import pytest

from objective.events.fanout import Sinks
from objective.events.types import Event, Phase
from objective.runtime.signals import Interruption
from objective.trial.phases import Phases


class Heard:
    """A sink that keeps the phases, and lets a test wait for one."""

    name = "heard"

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.stopping = threading.Event()

    def emit(self, event: Event) -> None:
        assert isinstance(event, Phase)
        self.phases.append(event)
        if event.stopping:
            self.stopping.set()

    def close(self) -> None:
        pass


def test_a_stop_is_announced_while_the_trial_is_busy() -> None:
    heard, interruption = Heard(), Interruption()
    with Phases(3, Sinks([heard]), interruption):
        interruption.request()
        assert heard.stopping.wait(10), "the trial itself does nothing here"
    assert heard.phases == [Phase(3, "stopping: saving its snapshot (interrupted)", stopping=True)]


def test_an_evaluation_is_finished_before_the_stop() -> None:
    heard, interruption = Heard(), Interruption()
    with Phases(3, Sinks([heard]), interruption) as phases:
        phases.evaluating("synthesising 5 sentences")
        interruption.stop_after(1e-9)
        assert heard.stopping.wait(10)
    assert [phase.name for phase in heard.phases] == [
        "evaluating: synthesising 5 sentences",
        "stopping: after its evaluation (time is up after 1e-09 s)",
    ]


def test_the_watch_ends_with_the_trial_also_where_it_raises() -> None:
    before = threading.active_count()

    def fail() -> None:
        with Phases(3, Sinks([]), Interruption()):
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert threading.active_count() == before
