"""The last page of a study: the best trials, what mattered, what pruning saved, and the next command to type."""

from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from objective.display.formatting import HEALTHY, duration, kframes, number, one_line, settings, share, verdict
from objective.display.rows import with_sentence
from objective.events.types import StudyEnded

BAR = 24  # columns of the longest importance bar
HEAD = f"{'':2}{'trial':<6}{'value':>9}  {'health':<8}{'diag':>6}{'read':>7}{'gate':>6}{'time':>13}"


def closing(console: Console, event: StudyEnded) -> None:
    """Print the page.

    A row of `event.trials` has the keys `number`, `state` (COMPLETE | PRUNED | FAIL), `value` (None where there is none),
    `healthy` (bool), `diagonality`, `reading`, `gate_accuracy` (floats in [0, 1] or None), `seconds`, `params` (short
    name -> value, those that differ between the trials) and `reason`: the sentence why the trial was pruned or failed, or what
    a sick one misses; None for a healthy one. They are sorted as in storage/outcome.py, the best first.
    """
    console.print()
    console.print(Rule(characters="-" if console.options.ascii_only else "─", style="dim"))
    console.print(
        Text.assemble(
            (f"{one_line(event.why)}: ", "bold"), f"{event.finished} of {event.wanted} trials, in {duration(event.seconds)}"
        )
    )
    _best(console, event.trials)
    _importances(console, event.importances)
    _saved(console, event.saved_kframes)
    _repairs(console, *event.repairs)
    _title(console, "next")
    # a command with a line break cannot be pasted: only the terminal may wrap it
    console.print(Text(f"  {event.next_command}", style="bold"), soft_wrap=True)


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold cyan"))


def _best(console: Console, trials: tuple[dict[str, Any], ...]) -> None:
    if not trials:
        return
    _title(console, "best trials")
    console.print(Text(HEAD, style="dim"))
    for row in trials:
        console.print(with_sentence(_row(row, console.options.ascii_only), _detail(row), console.width))
    if not any(row["healthy"] for row in trials):
        closest = trials[0]
        why = f": {one_line(closest['reason'])}" if closest["reason"] else ""
        console.print()
        console.print(Text(f"No healthy trial yet. The closest is trial {closest['number']}{why}", style="bold yellow"))


def _row(row: dict[str, Any], ascii_only: bool) -> Text:
    end = verdict(row["state"], row["healthy"])
    return Text.assemble(
        (f"{end.ascii if ascii_only else end.mark} ", end.style),
        (f"{row['number']:<6}", "bold"),
        f"{number(row['value']):>9}  ",
        (f"{end.word:<8}", end.style),
        f"{share(row['diagonality']):>6}{share(row['reading']):>7}{share(row['gate_accuracy']):>6}",
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
    _title(console, "frames saved by pruning")
    width = max(map(len, saved))
    for name, amount in sorted(saved.items(), key=lambda item: -item[1]):
        console.print(Text(f"  {name:<{width}}  {kframes(amount):>7} kframes"))
    if len(saved) > 1:
        console.print(Text(f"  {'together':<{width}}  {kframes(sum(saved.values())):>7} kframes", style="bold"))


def _repairs(console: Console, better: int, count: int) -> None:
    if count:
        console.print()
        console.print(Text.assemble(("repairs", "bold cyan"), f": {better} of {count} better than their parents"))
