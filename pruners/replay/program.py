"""Replay recorded curves and print what each pruner saves and costs: the program of `replay` (objective/replay.py).

The archive's format: pruners/replay/archive.py. The figures and their intervals: pruners/replay/metrics.py. The pruners:
pruners/replay/baselines.py. With --correlations it prints the table of pruners/replay/correlation.py instead.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model.errors import BadInput
from model.files import atomic_write
from pruners.replay import correlation
from pruners.replay.archive import Curve, half, read
from pruners.replay.baselines import OURS, contenders
from pruners.replay.metrics import evaluate
from pruners.replay.pareto_plot import draw, verdicts

COLUMNS = {
    "frames_saved": "frames\nsaved",
    "regret": "regret",
    "top_decile_killed": "top decile\nkilled",
    "top_quarter_killed": "top quarter\nkilled",
    "healthy_killed": "healthy\nkilled",
    "ended_early": "ended with\nsnapshot",
    "ended_worse": "worse\nby then",
    "sick_dead_by_quarter": "dead by\na quarter",
    "delay": "spent by\nthe sick",
}
VALUES = ("regret", "ended_worse")  # in units of the score
WIDE = 160  # columns: a table with intervals


def run(parsed: argparse.Namespace) -> int:
    """Read the archive, replay it, write and print the figures. Raises BadInput, OSError and BrokenExecutor."""
    _check(parsed)
    archive = _read(parsed.archive)
    if parsed.correlations:
        curves = [curve for curve in half(archive, parsed.half or "all") if not (parsed.not_sick and curve.condition == "sick")]
        judgements = None if parsed.judgements is None else _judgements(parsed.judgements)
        correlations, trials = correlation.correlations(curves, judgements, parsed.seed)
        _write(parsed.json, correlations)
        _console().print(correlation.table(correlations, trials))
        return 0
    replayed = _replayed(archive, parsed)
    _write(parsed.json, replayed)
    if parsed.plot is not None:
        draw(parsed.plot, replayed)
    show(_console(), replayed)
    return 0


def _check(parsed: argparse.Namespace) -> None:
    """Raise BadInput for arguments that cannot be used, and for files that cannot be written: sooner than after minutes."""
    if parsed.orders < 1 or parsed.workers < 1 or parsed.seed < 0:
        got = f"{parsed.orders}, {parsed.workers} and {parsed.seed}"
        raise BadInput(f"need --orders and --workers >= 1 and --seed >= 0, got {got}")
    if parsed.correlations and (parsed.pruner or parsed.plot):
        raise BadInput("need --pruner and --plot without --correlations, which replays no pruner: leave one of them out")
    if (parsed.not_sick or parsed.judgements) and not parsed.correlations:
        raise BadInput("need --correlations with --not-sick and --judgements: add it, or leave them out")
    for path in (parsed.json, parsed.plot):
        if path is not None:
            _check_writable(path)


def _check_writable(path: Path) -> None:
    """Make the folder of a file that will be written. Raises BadInput where the file cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as why:
        raise BadInput(f"{path} cannot be written: {why}") from why


def _read(path: Path) -> list[Curve]:
    try:
        return read(path)
    except OSError as why:
        raise BadInput(f"need --archive to be a file of recorded curves: {why}") from why


def _judgements(path: Path) -> dict[int, correlation.Figures]:
    try:
        return correlation.read_judgements(path)
    except OSError as why:
        raise BadInput(f"need --judgements to be a file that benchmarks/voices.py wrote: {why}") from why


def _replayed(archive: Sequence[Curve], parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the document of a replay: the archive's name and counts, and the figures of each pruner."""
    has_held_out = any(curve.more.get("held_out") is not None for curve in archive)
    which = parsed.half or ("held-out" if has_held_out else "all")
    curves, chosen = half(archive, which), half(archive, "chosen")
    if not curves:
        raise BadInput(f"need curves of --half {which}, {parsed.archive.name} has none: try --half all")
    conditions = [curve.condition for curve in curves]
    counts = {name: conditions.count(name) for name in ("healthy", "weak", "sick")}
    replayed = {"archive": parsed.archive.name, "half": which, "trials": len(curves), **counts, "orders": parsed.orders}
    replayed["pruners"] = _evaluated(curves, chosen or curves, parsed)
    for name in set(OURS) & set(replayed["pruners"]):
        replayed["pruners"][name]["beyond_front"] = verdicts(replayed, name)
    return replayed


def _evaluated(curves: Sequence[Curve], chosen: Sequence[Curve], parsed: argparse.Namespace) -> dict[str, Any]:
    """Return name -> figures of the requested pruners, with a progress bar on a terminal."""
    available = [*contenders(curves, chosen), "random"]
    names = list(dict.fromkeys(parsed.pruner or available))
    if unknown := [name for name in names if name not in available]:
        raise BadInput(f"need --pruner to be one of {', '.join(available)}, got {', '.join(unknown)}")
    total = parsed.orders * len({*names, "default"} if "random" in names else names)
    label = TextColumn(f"{len(names)} pruners, {len(curves)} curves, {parsed.orders} orders")
    console = Console(stderr=True)
    columns = label, BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        return evaluate(
            curves, chosen, names, parsed.orders, parsed.seed, parsed.workers, advance=lambda orders: bar.advance(task, orders)
        )


def _write(path: Path | None, document: Any) -> None:
    if path is not None:
        with atomic_write(path) as part:
            part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def show(console: Console, replayed: dict[str, Any]) -> None:
    """Print the table of the figures, and what each of our rules did."""
    counts = f"{replayed['trials']} trials ({replayed['healthy']} healthy, {replayed['weak']} weak, {replayed['sick']} sick)"
    wide = console.width >= WIDE
    about = f"{escape(replayed['archive'])}, {replayed['half']}: {counts}, {replayed['orders']} orders"
    units = "per cent, regret in units of the score" + (", 95 % intervals in brackets" if wide else "")
    table = Table(title=f"{about}\n{units}", title_justify="left", box=None, pad_edge=False)
    table.add_column("pruner", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in replayed["pruners"].items():
        cells = (_cell(column, figures, wide) for column in COLUMNS)
        table.add_row(name, *cells, style="bold" if name == "default" else "")
    console.print(table)
    if "default" in replayed["pruners"]:
        rules = Table(title="\nthe rules of default", title_justify="left", box=None, pad_edge=False)
        for heading in ("rule", "trials stopped", "frames saved"):
            rules.add_column(heading, justify="left" if heading == "rule" else "right")
        for rule, did in replayed["pruners"]["default"]["by_rule"].items():
            rules.add_row(rule, f"{did['stopped']:.1f}", f"{did['frames_saved']:.1%}")
        console.print(rules)


def _cell(name: str, figures: dict[str, Any], wide: bool) -> str:
    """Return a figure, and on a wide console its interval in brackets."""
    value, interval = figures[name], figures[f"{name}_interval"]

    def written(number: float) -> str:
        return f"{number:.3f}" if name in VALUES else f"{100 * number:.0f}"

    if value is None:
        return "-"
    return f"{written(value)} [dim]\\[{', '.join(map(written, interval))}][/dim]" if wide and interval else written(value)
