"""Run checks of a figure against its bound, whatever one of them fails with; print each, and write all of them as JSON."""

import json
import math
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.files import atomic_write


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check."""

    name: str
    holds: bool
    figure: float | None = None  # what was measured
    bound: float | None = None  # the most that it may be
    note: str = ""

    def __str__(self) -> str:
        figure = "" if self.figure is None else f"{self.figure:.3g}"
        allowed = "" if self.bound is None else f" (at most {self.bound:g})"
        return f"{'ok ' if self.holds else 'BAD'} {figure + allowed:28} {self.name}{': ' * bool(self.note)}{self.note}"


@dataclass(frozen=True, slots=True)
class Case:
    """A check that is still to be made."""

    name: str
    measure: Callable[[], tuple[float | None, str]]  # returns the figure, if there is one, and a note; raises where it is wrong
    bound: float | None = None


def run(cases: Iterable[Case]) -> list[Check]:
    """Make every check, and print it at once. One that raises does not hold."""
    done = []
    for case in cases:
        try:
            figure, note = case.measure()
            holds = figure is None or case.bound is None or figure <= case.bound  # False for NaN
            check = Check(case.name, holds, figure, case.bound, note)
        except Exception as why:  # whatever a compiler, a driver or a card fails with: the other checks are made all the same
            traceback.print_exc()
            first = (str(why).splitlines() or [""])[0]
            check = Check(case.name, False, None, case.bound, f"{type(why).__name__}: {first}")
        print(check, flush=True)
        done.append(check)
    return done


def write(path: Path, checks: Iterable[Check], **more: Any) -> None:
    """Write the checks and `more` as one JSON object. A figure that is not finite becomes null."""
    rows = [asdict(check) for check in checks]
    for row in rows:
        row["figure"] = row["figure"] if row["figure"] is not None and math.isfinite(row["figure"]) else None
    with atomic_write(path) as part:
        part.write_text(json.dumps({"checks": rows, **more}, indent=1), encoding="utf-8")
