"""Judge pruners on recorded curves: `python -m pruners.replay --archive FILE --json OUT --plot PNG`.

Every pruner, ours and Optuna's, sees the curves of the archive (pruners/replay/archive.py) in many orders as a live study would
(pruners/replay/simulator.py). The figures and their intervals: pruners/replay/metrics.py. The pruners:
pruners/replay/baselines.py. Where the archive says which curves were held out, these are judged.

Exit codes: 0 done, 1 the machine failed, 2 bad input, 130 interrupted.
"""

import argparse
import json
import os
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pruners.replay.archive import Curve

COLUMNS = {
    "frames_saved": "frames\nsaved",
    "regret": "regret",
    "top_decile_killed": "top decile\nkilled",
    "top_quarter_killed": "top quarter\nkilled",
    "healthy_killed": "healthy\nkilled",
    "sick_killed": "sick\nkilled",
    "sick_dead_by_quarter": "dead by\na quarter",
    "delay": "spent by\nthe sick",
}
WIDE = 144  # columns: a table with intervals


class BadInput(ValueError):
    """What was typed cannot be done."""


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        return run(parsed)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BadInput as why:
        print(why, file=sys.stderr)
        return 2
    except (OSError, BrokenExecutor) as why:
        print(f"the machine failed: {why}: mend that, and type the same command again", file=sys.stderr)
        return 1


def run(parsed: argparse.Namespace) -> int:
    """Read, replay, show. Raises BadInput, KeyboardInterrupt and OSError."""
    if parsed.orders < 1 or parsed.workers < 1 or parsed.seed < 0:
        got = f"{parsed.orders}, {parsed.workers} and {parsed.seed}"
        raise BadInput(f"need --orders and --workers >= 1 and --seed >= 0, got {got}")
    for path in (parsed.json, parsed.plot):
        _make_room(path)
    archive = _archive(parsed.archive)
    told = any(curve.more.get("held_out") is not None for curve in archive)
    which = parsed.half or ("held-out" if told else "all")
    from rich.console import Console

    from pruners.replay.archive import half
    from pruners.replay.baselines import OURS
    from pruners.replay.pareto_plot import verdicts

    curves, chosen = half(archive, which), half(archive, "chosen")
    if not curves:
        raise BadInput(f"need curves of --half {which}, {parsed.archive.name} has none: try --half all")
    judged = {"archive": parsed.archive.name, "half": which, **_counts(curves), "orders": parsed.orders}
    judged["pruners"] = _judge(curves, chosen or curves, parsed)
    for name in set(OURS) & set(judged["pruners"]):
        judged["pruners"][name]["beyond_front"] = verdicts(judged, name)
    if parsed.json is not None:
        from model.files import atomic_write

        with atomic_write(parsed.json) as part:
            part.write_text(json.dumps(judged, indent=1) + "\n", encoding="utf-8")
    if parsed.plot is not None:
        from pruners.replay.pareto_plot import draw

        draw(parsed.plot, judged)
    show(Console() if sys.stdout.isatty() else Console(width=WIDE), judged)
    return 0


def _judge(curves: list["Curve"], chosen: list["Curve"], parsed: argparse.Namespace) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from pruners.replay.baselines import contenders
    from pruners.replay.metrics import judge

    known = [*contenders(curves, chosen), "random"]
    names = list(dict.fromkeys(parsed.pruner or known))
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"need --pruner to be one of {', '.join(known)}, got {', '.join(unknown)}")
    total = parsed.orders * len({*names, "default"} if "random" in names else names)
    words = TextColumn(f"{len(names)} pruners, {len(curves)} curves, {parsed.orders} orders")
    console = Console(stderr=True)
    columns = words, BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        advance = lambda orders: bar.advance(task, orders)  # noqa: E731
        return judge(curves, chosen, names, parsed.orders, parsed.seed, parsed.workers, advance)


def _archive(path: Path) -> list["Curve"]:
    from pruners.replay.archive import ArchiveError, read

    try:
        return read(path)
    except ArchiveError as why:
        raise BadInput(str(why)) from why
    except OSError as why:
        raise BadInput(f"need --archive to be a file of recorded curves: {why}") from why


def _make_room(path: Path | None) -> None:
    """The folder of a file that will be written: better to fail now than after minutes."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as why:
        raise BadInput(f"{path} cannot be written: {why}") from why


def _counts(curves: list["Curve"]) -> dict[str, int]:
    conditions = [curve.condition for curve in curves]
    return {"trials": len(curves), **{name: conditions.count(name) for name in ("healthy", "weak", "sick")}}


def show(console: "Console", judged: dict[str, Any]) -> None:
    """The table of the figures, and what each rule of ours did."""
    from rich.markup import escape
    from rich.table import Table

    counts = f"{judged['trials']} trials ({judged['healthy']} healthy, {judged['weak']} weak, {judged['sick']} sick)"
    wide = console.width >= WIDE
    about = f"{escape(judged['archive'])}, {judged['half']}: {counts}, {judged['orders']} orders"
    units = "per cent, regret in units of the score" + (", 95 % intervals in brackets" if wide else "")
    table = Table(title=f"{about}\n{units}", title_justify="left", box=None, pad_edge=False)
    table.add_column("pruner", no_wrap=True)
    for words in COLUMNS.values():
        table.add_column(words, justify="right", no_wrap=True)
    for name, figures in judged["pruners"].items():
        cells = (_cell(column, figures, wide) for column in COLUMNS)
        table.add_row(name, *cells, style="bold" if name == "default" else "")
    console.print(table)
    if "default" in judged["pruners"]:
        rules = Table(title="\nthe rules of default", title_justify="left", box=None, pad_edge=False)
        for words in ("rule", "trials stopped", "frames saved"):
            rules.add_column(words, justify="left" if words == "rule" else "right")
        for rule, did in judged["pruners"]["default"]["by_rule"].items():
            rules.add_row(rule, f"{did['killed']:.1f}", f"{did['frames_saved']:.1%}")
        console.print(rules)


def _cell(name: str, figures: dict[str, Any], wide: bool) -> str:
    value, interval = figures[name], figures[f"{name}_interval"]

    def written(number: float) -> str:
        return f"{number:.3f}" if name == "regret" else f"{100 * number:.0f}"

    if value is None:
        return "-"
    return f"{written(value)} [dim]\\[{', '.join(map(written, interval))}][/dim]" if wide and interval else written(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pruners.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = min(8, os.cpu_count() or 1)
    parser.add_argument("--archive", type=Path, required=True, metavar="FILE", help="recorded curves, JSON lines")
    parser.add_argument("--pruner", nargs="+", action="extend", metavar="NAME", help="which pruners (default: all)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw regret against frames spent into this file")
    parser.add_argument("--half", choices=("held-out", "chosen", "all"), help="default: held-out where the archive has such")
    parser.add_argument("--orders", type=int, default=200, help="orders of the trials (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders (default 0)")
    parser.add_argument("--workers", type=int, default=cores, help=f"processes (default {cores})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
