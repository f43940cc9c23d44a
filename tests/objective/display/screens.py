"""The content of a screen or a log once events were shown."""

import io
import re

from rich.console import Console

from objective.display.live_console import LiveDisplay, console, view
from objective.display.scene import Scene, after
from objective.events.types import Event, Sink
from tests.objective import samples


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def colourless(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def printed(sink: Sink, stream: io.StringIO, events: list[Event]) -> str:
    for event in events:
        sink.emit(event)
    sink.close()
    return colourless(stream.getvalue())


def lines(events: list[Event], quiet: bool = False) -> str:
    """The output of the plain console."""
    stream = io.StringIO()
    return printed(console(quiet, stream), stream, events)


def display(events: list[Event], width: int = 60) -> str:
    """The output of the live console, without what it draws and takes away again."""
    stream = Terminal()
    return printed(LiveDisplay(Console(file=stream, force_terminal=True, width=width, height=50)), stream, events)


def drawn(scene: Scene, now: float = 60.0, width: int = 60, ascii_only: bool = False) -> str:
    """The live view."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(view(scene, now, ascii_only))
    return stream.getvalue()


def scene(*events: Event, clock: tuple[float, ...] = ()) -> Scene:
    """The scene after `events`, one second apart unless `clock` gives their times."""
    now = Scene(samples.study_started(wanted=5))
    for second, event in zip(clock or range(len(events)), events, strict=True):
        now = after(now, event, second)
    return now


def unwrapped(text: str) -> str:
    return " ".join(text.split())
