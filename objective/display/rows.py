"""Parts that both consoles print, as rich renderables: the header of a study and the row of a finished trial."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from objective.display.formatting import FAILED, duration, number, one_line, percent, share, verdict
from objective.display.heard import heard
from objective.events.types import StudyStarted, TrialEnded

STATUS_STYLE = {"STABLE": "green", "ATTENTION": "yellow", "CRITICAL": "bold red"}
WIDE = 100  # columns from which a sentence is printed next to its numbers, not below them


def study_header(event: StudyStarted) -> RenderableType:
    """Return the study, where it is stored, and the notes on corpus and device."""
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


def trial_row(event: TrialEnded, ascii_only: bool) -> tuple[Text, Text]:
    """Return a finished trial as its numbers (mark, number, value, verdict, duration) and its sentence."""
    end = verdict(event.state, event.healthy)
    numbers = Text.assemble(
        (f"{end.ascii if ascii_only else end.mark} ", end.style),
        (f"trial {event.number:<4}", "bold"),
        f"{number(event.value):>9}  ",
        (f"{end.word:<8}", end.style),
        f"{duration(event.seconds):>11}",
    )
    sentence = Text(end_sentence(event), style=end.style if end is FAILED else "")
    if event.is_best:
        sentence.append(f"{', ' if sentence else ''}best so far", style="bold green")
    return numbers, sentence


def end_sentence(event: TrialEnded) -> str:
    """Return why a trial stopped or what it misses, what was heard of a complete one, and the figures of a healthy one."""
    missed = [f"{name} by {share(amount)}" for name, amount in event.violations.items() if amount > 0]
    why = one_line(event.reason) if event.reason else f"misses {', '.join(missed)}" if missed else ""
    if event.state != "COMPLETE":
        return why
    said = [heard(event.spoken), *(_figures(event) if event.healthy else ())]
    return "; ".join(filter(None, (why, ", ".join(filter(None, said)))))


def _figures(event: TrialEnded) -> list[str]:
    """Return errors and faults; without a listener that hears well enough, how well it reads."""
    errors, failures = event.spoken.get("errors"), event.spoken.get("failures")
    health = event.last.health if event.last is not None and errors is None else None
    reads = {} if health is None else {"diagonality": share(health.diagonality), "reading": share(health.reading)}
    spoken = {name: percent(value) for name, value in (("errors", errors), ("faults", failures)) if value is not None}
    return [f"{name} {value}" for name, value in (reads | spoken).items()]


def with_sentence(numbers: Text, sentence: Text, width: int) -> RenderableType:
    """Put a sentence of any length next to its numbers on a wide terminal, below them on a narrow one; nothing is cut."""
    if not sentence:
        return numbers
    if width < WIDE:
        return Group(numbers, Padding(sentence, (0, 0, 0, 2)))
    grid = Table.grid(padding=(0, 3))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(numbers, sentence)
    return grid
