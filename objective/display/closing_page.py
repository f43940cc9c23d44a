"""The last page of a study: the best trials, what mattered, what pruning saved, and the next command to type."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from objective.display.formatting import HEALTHY, duration, kframes, number, one_line, percent, settings, share, verdict
from objective.display.heard import errors, faults, sentences
from objective.display.rows import with_sentence
from objective.events.types import StudyEnded

BAR = 24  # columns of the longest importance bar


def closing(console: Console, event: StudyEnded) -> None:
    """Print the page.

    A row of `event.trials` has the keys `number`, `state` (COMPLETE | PRUNED | FAIL), `value` (None where there is none),
    `healthy` (bool), `diagonality`, `reading` (floats in [0, 1] or None), `spoken` (objective/display/heard.py), `seconds`,
    `params` (short name -> value, those that differ between the trials) and `reason`: the sentence why the trial was stopped or
    failed, or what a sick one misses. They are sorted as in storage/outcome.py, the best first.
    """
    console.print()
    console.print(Rule(characters="-" if console.options.ascii_only else "─", style="dim"))
    console.print(
        Text.assemble(
            (f"{one_line(event.why)}: ", "bold"), f"{event.finished} of {event.wanted} trials, in {duration(event.seconds)}"
        )
    )
    _best(console, event)
    if event.unaligned is not None:
        console.print()
        console.print(Text(one_line(event.unaligned), style="bold yellow"))
    _importances(console, event.importances)
    _saved(console, event.saved_kframes)
    _repairs(console, *event.repairs)
    _title(console, "next")
    for command in event.next_commands:  # one with a line break cannot be pasted: only the terminal may wrap it
        console.print(Text(f"  {command}", style="bold"), soft_wrap=True)


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold cyan"))


def _best(console: Console, event: StudyEnded) -> None:
    """Print the table, and what the best trial says; while none is healthy, the closest, and what would bring it nearer."""
    trials = event.trials
    if not trials:
        return
    ascii_only, heard = console.options.ascii_only, any(row["spoken"].get("errors") is not None for row in trials)
    columns = ("errors", "faults") if heard else ("diag", "reading", "faults")
    _title(console, "best trials")
    console.print(Text(f"{'':2}{'trial':<6}{'value':>9}  {'health':<8}{_cells(columns)}{'time':>13}", style="dim"))
    first = trials[0]
    for row in trials:
        detail = _detail(row | {"reason": None}) if row is first and not row["healthy"] else _detail(row)
        console.print(with_sentence(_row(row, columns, ascii_only), detail, console.width))
    if not first["healthy"]:
        why = f": {one_line(first['reason'])}" if first["reason"] else ""
        console.print()
        console.print(Text(f"No healthy trial yet. The closest is trial {first['number']}{why}", style="bold yellow"))
        if event.advice:
            console.print(Text(event.advice, style="yellow"))
    _spoken(console, first)


def _spoken(console: Console, row: dict[str, Any]) -> None:
    """Print what a trial said and what was heard of it."""
    said = sentences(row["spoken"])
    if not said:
        return
    _title(console, f"what trial {row['number']} says")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for sentence in said:
        grid.add_row(f"  {'said' if sentence.which == 'middle' else 'worst'}", Text(f'"{one_line(sentence.text)}"'))
        if sentence.heard is not None:
            wrong = "" if sentence.errors is None else f"  {percent(sentence.errors)} wrong"
            heard = f'"{sentence.transcript}"' if sentence.heard else sentence.transcript
            grid.add_row("  heard", Text.assemble(heard, (wrong, "dim")))
    console.print(grid)
    known = "" if row["state"] == "COMPLETE" and not row["healthy"] else errors(row["spoken"])  # else its reason says them
    console.print(Padding(Text("; ".join(filter(None, (known, faults(row["spoken"]))))), (0, 0, 0, 2)))


def _cells(values: Iterable[str]) -> str:
    return "".join(f"{value:>8}" for value in values)


def _row(row: dict[str, Any], columns: tuple[str, ...], ascii_only: bool) -> Text:
    end, spoken = verdict(row["state"], row["healthy"]), row["spoken"]
    figures = {
        "errors": percent(spoken.get("errors")),
        "faults": percent(spoken.get("failures")),
        "diag": share(row["diagonality"]),
        "reading": share(row["reading"]),
    }
    return Text.assemble(
        (f"{end.ascii if ascii_only else end.mark} ", end.style),
        (f"{row['number']:<6}", "bold"),
        f"{number(row['value']):>9}  ",
        (f"{end.word:<8}", end.style),
        _cells(figures[column] for column in columns),
        f"{duration(row['seconds']):>13}",
    )


def _detail(row: dict[str, Any]) -> Text:
    parts = (settings(row["params"]), one_line(row["reason"] or ""))
    return Text("; ".join(part for part in parts if part), style="" if row["healthy"] else "dim")


def _importances(console: Console, importances: dict[str, float]) -> None:
    if not importances:
        return
    _title(console, "what mattered for the value")
    width = max(map(len, importances))
    block = "#" if console.options.ascii_only else "█"
    for name, amount in sorted(importances.items(), key=lambda item: -item[1]):
        bar = block * round(BAR * amount / max(*importances.values(), 1e-9))
        console.print(Text.assemble(f"  {name:<{width}}  ", (f"{amount:>4.0%} ", "bold"), (bar, HEALTHY.style)))


def _saved(console: Console, saved: dict[str, float]) -> None:
    if not saved:
        return
    _title(console, "frames saved by stopping early")
    width = max(map(len, saved))
    for name, amount in sorted(saved.items(), key=lambda item: -item[1]):
        console.print(Text(f"  {name:<{width}}  {kframes(amount):>7} kframes"))
    if len(saved) > 1:
        console.print(Text(f"  {'together':<{width}}  {kframes(sum(saved.values())):>7} kframes", style="bold"))


def _repairs(console: Console, better: int, count: int) -> None:
    if count:
        console.print()
        console.print(Text.assemble(("repairs", "bold cyan"), f": {better} of {count} better than their parents"))
