"""A sink that keeps all events, for tests."""

from objective.events.types import Event


class Recorder:
    """A sink that keeps all events."""

    name = "recorder"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass
