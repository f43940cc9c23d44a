"""How the console says things: numbers, durations, and what became of a trial. The display and the plain lines share it."""

import math
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from objective.events.types import StudyStarted, TrialEnded

STATUS_STYLE = {"STABLE": "green", "ATTENTION": "yellow", "CRITICAL": "bold red"}
WIDE = 100  # columns from which a sentence stands beside its numbers, not below them


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a trial, in one word, with its mark (a second one for terminals without Unicode) and its colour."""

    word: str
    mark: str
    ascii: str
    style: str


HEALTHY = Verdict("healthy", "✓", "+", "green")
SICK = Verdict("sick", "!", "!", "yellow")
PRUNED = Verdict("pruned", "⊘", "/", "cyan")
FAILED = Verdict("failed", "✗", "x", "bold red")


def verdict(state: str, healthy: bool) -> Verdict:
    """`sick` is a trial that ran to its end and breaks a constraint: whatever its value, it is never the best."""
    if state == "COMPLETE":
        return HEALTHY if healthy else SICK
    return PRUNED if state == "PRUNED" else FAILED


def duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def number(value: float | None) -> str:
    """Three decimals, or three significant digits where those would say nothing. A missing value is a dash."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 10_000 else f"{value:.2e}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def norm(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if 0.1 <= value < 10_000 else f"{value:.1e}"


def kframes(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def settings(params: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items())


def one_line(sentence: str) -> str:
    """Messages of exceptions carry line breaks; a line of the display does not."""
    return " ".join(sentence.split())


def why(event: TrialEnded) -> str:
    """The sentence at the end of a trial: why it stopped, what it misses, or how well it speaks."""
    if event.reason:
        return one_line(event.reason)
    broken = [f"{name} by {share(amount)}" for name, amount in event.violations.items() if amount > 0]
    if broken:
        return f"misses {', '.join(broken)}"
    if event.last is None:
        return ""
    health = event.last.health
    measured = {"diagonality": health.diagonality, "alignment": health.alignment_score, "gate": health.gate_accuracy}
    return ", ".join(f"{name} {share(value)}" for name, value in measured.items())


def ended(event: TrialEnded, ascii_only: bool) -> tuple[Text, Text]:
    """A finished trial as its numbers (mark, number, value, health, duration) and its sentence."""
    end = verdict(event.state, event.healthy)
    head = Text.assemble(
        (f"{end.ascii if ascii_only else end.mark} ", end.style),
        (f"trial {event.number:<4}", "bold"),
        f"{number(event.value):>9}  ",
        (f"{end.word:<8}", end.style),
        f"{duration(event.seconds):>11}",
    )
    sentence = Text(why(event), style="" if end is not FAILED else end.style)
    if event.is_best:
        sentence.append(f"{', ' if sentence else ''}best so far", style="bold green")
    return head, sentence


def entry(head: Text, sentence: Text, width: int) -> RenderableType:
    """Numbers with a sentence of any length: beside them on a wide terminal, below them on a narrow one; nothing is cut."""
    if not sentence:
        return head
    if width < WIDE:
        return Group(head, Padding(sentence, (0, 0, 0, 2)))
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(head, sentence)
    return grid


def header(event: StudyStarted) -> RenderableType:
    """The study, where it is kept, and the notes on corpus and device."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("study", Text(event.name, style="bold"))
    grid.add_row("storage", Text(event.storage))
    grid.add_row("folder", Text(str(event.folder)))
    grid.add_row("trials", Text(f"{event.finished} of {event.wanted} finished"))
    for line, note in enumerate(event.notes):
        grid.add_row("" if line else "notes", Text(one_line(note)))
    for line, view in enumerate(event.views):
        grid.add_row("" if line else "views", Text(view))
    return grid
