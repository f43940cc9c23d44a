"""Read an archive of whole learning curves: JSON lines, one trial each, as `objective/search/recording.py` writes them.

    {"params": {...}, "seconds": s, "points": [{"kframes": k, "val_loss": v, "free_value": f, "diagonality": ..., ...}, ...]}

and, where they are known, `k`, `held_out`, `budget_kframes`, `end` and `kept`. Each of the points is a report. A missing
signal, a null, NaN and an infinity are all None. A trial's value and condition (healthy, weak, sick) follow from what was heard
of the snapshot that a study would have kept, independently of any rule. A target that was measured nowhere in a line is not
missed by it: archives of older versions hold no `reading`, and they know what was heard of the kept snapshot alone, as
`premature_rate` and `overrun_rate`. Loads without torch and Optuna.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.errors import BadInput
from pruners.health_record import SIGNALS, Record, empty, extended
from pruners.thresholds import ALIGNMENT, Targets

# Sick: such a voice does not speak at all. Half of the letters are wrong that the listener hears right in recordings, or most
# of the sentences have a fault; where no listener hears, no order of the text is left at a reading of 0.3 (in archives that
# have none, an alignment score). A trial between these thresholds and the targets is weak: neither a success nor clearly sick.
SICK_ERRORS = 0.5  # beyond those of recordings
SICK_READING = 0.3
SICK_FAILURES = 0.5

FIELDS = ("k", "params", "seconds", "budget_kframes", "score")
# The figures of a free-running synthesis that are numbers; it has texts, too (model/spoken.py, FreeRunning.summary).
FIGURES = ("kframes", "errors", "surprise", "failures", "alignment_score", "mcd_db", "premature_rate", "overrun_rate")


class ArchiveError(BadInput):
    """A line of an archive is not a recorded trial."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights at one of the reports, by what is known of them."""

    kframes: float
    value: float  # smaller is better
    violations: dict[str, float]  # by target: > 0 is missed

    @property
    def healthy(self) -> bool:
        """Whether it meets every target."""
        return all(amount <= 0 for amount in self.violations.values())


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial, trained to the end of its budget."""

    k: int
    held_out: bool
    params: dict[str, Any]
    seconds: float | None
    budget_kframes: float
    score: str  # which the values are: "speech", or in older archives "loss"
    prefixes: tuple[Record, ...]  # the health record as a live trial would have stored it at each report
    val_losses: tuple[float | None, ...]
    values: tuple[float | None, ...]  # as a study would have reported them to Optuna; None where it would have reported none
    held: tuple[Snapshot | None, ...]  # at each report, the best snapshot so far that meets every target
    kept: Snapshot | None  # at the end; None where no value was finite
    condition: str  # "healthy", "weak" or "sick"
    more: dict[str, Any]  # the line's other keys unchanged: points, end, kept, unknown ones

    @property
    def value(self) -> float | None:
        """The value of the kept snapshot."""
        return None if self.kept is None else self.kept.value

    @property
    def violations(self) -> dict[str, float]:
        """By how much the kept snapshot misses each target."""
        return {} if self.kept is None else self.kept.violations

    @property
    def last(self) -> int:
        """The place of the report that ends the trial if no rule does: the last, or the first whose loss is not finite."""
        return self.val_losses.index(None) if None in self.val_losses else len(self.val_losses) - 1

    @property
    def full_kframes(self) -> float:
        """The end of the trial if nothing stops it."""
        return float(self.prefixes[self.last]["kframes"][-1])


def read(path: Path, targets: Targets | None = None) -> list[Curve]:
    """Return the curves of an archive in its order. Raises ArchiveError with a line's number, OSError without a file."""
    lines = [(number, _line(number, text)) for number, text in enumerate(path.read_bytes().splitlines(), 1) if text.strip()]
    if not lines:
        raise ArchiveError(f"need at least one trial, got none in {path}: record some with python -m objective.record")
    longest = max(line["points"][-1]["kframes"] for _, line in lines)
    return [_curve(number, index, line, longest, targets or Targets()) for index, (number, line) in enumerate(lines)]


def _line(number: int, text: bytes) -> dict[str, Any]:
    """Return one line with its keys and points checked. Raises ArchiveError."""
    try:
        line: dict[str, Any] = json.loads(text, parse_constant=lambda token: None)
    except ValueError as why:
        raise ArchiveError(f"line {number}: need one JSON object, got {_short(text)}: {why}; record that trial again") from why
    _need(isinstance(line, dict), number, "one JSON object a line", line)
    points: Any = line.get("points")
    valid = isinstance(points, list) and bool(points) and all(isinstance(point, dict) for point in points)
    _need(valid, number, "points, a list of one object or more", points)
    line["score"] = "speech" if any("free_value" in point for point in points) else "loss"
    last = 0.0
    for point in points:
        for name in SIGNALS:
            point[name] = _number(number, name, point.get(name))
        kframes = point["kframes"]
        _need(kframes is not None and kframes > last, number, f"kframes that rise, here above {last:g}", kframes)
        last = kframes
    for name, kind in (("params", dict), ("end", dict), ("kept", dict), ("held_out", bool), ("k", int)):
        _need(line.get(name) is None or isinstance(line[name], kind), number, f"{name} of type {kind.__name__}", line.get(name))
    for name in ("seconds", "budget_kframes"):
        line[name] = _number(number, name, line.get(name))
    for name in ("end", "kept"):
        if line.get(name):
            figures = {key: _number(number, f"{name}.{key}", line[name].get(key)) for key in FIGURES}
            early, never = figures["premature_rate"], figures["overrun_rate"]
            if early is not None and never is not None:  # of an older version
                figures["failures"] = early + never
            line[name] |= figures
    _need(line["budget_kframes"] is None or line["budget_kframes"] > 0, number, "budget_kframes > 0", line["budget_kframes"])
    return line


def _curve(number: int, index: int, line: dict[str, Any], longest: float, targets: Targets) -> Curve:
    points = line["points"]
    budget = float(line["budget_kframes"] or longest)
    prefixes, record = [], empty(budget)
    for point in points:
        record = extended(record, point)
        prefixes.append(record)
    older = line["score"] == "loss"
    values = tuple(point["val_loss" if older else "free_value"] for point in points)
    snapshots = _snapshots(points, values, targets)
    kept, condition = _kept(number, line, snapshots), "sick"
    if kept is not None:
        place = snapshots.index(kept)
        failures = points[place]["free_failures"]
        if older:
            failures = (line.get("kept") or line.get("end") or {}).get("failures")
            heard = {} if failures is None else {"free_failures": failures - targets.free_failures}
            kept = replace(kept, violations=kept.violations | heard)
        condition = _condition(kept, points[place], failures)
        if older:  # no other snapshot was listened to
            snapshots = [kept if at == place and condition == "healthy" else None for at in range(len(points))]
    k = index if line.get("k") is None else line["k"]
    return Curve(
        k=k,
        held_out=k % 2 == 1 if line.get("held_out") is None else line["held_out"],
        params=line.get("params") or {},
        seconds=line["seconds"],
        budget_kframes=budget,
        score=line["score"],
        prefixes=tuple(prefixes),
        val_losses=tuple(point["val_loss"] for point in points),
        values=values,
        held=_held(snapshots),
        kept=kept,
        condition=condition,
        more={name: value for name, value in line.items() if name not in FIELDS},
    )


def _snapshots(points: Sequence[Mapping[str, Any]], values: Sequence[float | None], targets: Targets) -> list[Snapshot | None]:
    """Return the snapshot at each of the points; None where it has no value."""
    absent = {name for name in ("free_failures", *ALIGNMENT) if all(point[name] is None for point in points)}
    missed = [{name: by for name, by in targets.missed(point).items() if name not in absent} for point in points]
    return [
        None if value is None else Snapshot(point["kframes"], value, violations)
        for point, value, violations in zip(points, values, missed, strict=True)
    ]


def _kept(number: int, line: dict[str, Any], snapshots: Sequence[Snapshot | None]) -> Snapshot | None:
    """Return the snapshot that a study keeps: the one that `kept` names, else the best. None where there is none.

    The order is that of `better` in objective/trial/score.py; among equals the first.
    """
    known = [snapshot for snapshot in snapshots if snapshot is not None]
    if known and line.get("kept"):
        wanted = line["kept"]["kframes"]
        known = [snapshot for snapshot in known if snapshot.kframes == wanted]
        _need(bool(known), number, "kept.kframes to be those of a point with a value", wanted)
    return min(known, key=lambda snapshot: (not snapshot.healthy, snapshot.value), default=None)


def _held(snapshots: Sequence[Snapshot | None]) -> tuple[Snapshot | None, ...]:
    """Return, at each report, the best snapshot so far that meets every target; None while there is none."""
    held: list[Snapshot | None] = []
    for new in snapshots:
        best = held[-1] if held else None
        better = new is not None and new.healthy and (best is None or new.value < best.value)
        held.append(new if better else best)
    return tuple(held)


def _condition(kept: Snapshot, point: Mapping[str, Any], failures: float | None) -> str:
    """Return "healthy" (meets every target), "sick" (below the thresholds above) or "weak"."""
    errors, floor, read = point["free_errors"], point["free_floor"], point["reading"]
    if errors is not None and floor is not None:
        mute = errors - floor > SICK_ERRORS
    else:
        read = point["alignment_score"] if read is None else read
        mute = read is not None and read < SICK_READING
    if mute or (failures or 0.0) > SICK_FAILURES:
        return "sick"
    return "healthy" if kept.healthy else "weak"


def _number(number: int, name: str, value: Any) -> float | None:
    """Return `value` where it is a finite number, None where it is null or not finite. Raises ArchiveError for another type."""
    numeric = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    _need(numeric, number, f"{name} to be a number or null", value)
    return value if value is not None and abs(value) <= sys.float_info.max else None


def _need(holds: bool, number: int, rule: str, value: Any) -> None:
    if not holds:
        raise ArchiveError(f"line {number}: need {rule}, got {_short(value)}: fix the line, or remove it")


def _short(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def half(curves: Sequence[Curve], which: str) -> list[Curve]:
    """Return the `held-out`, the `chosen` (on which thresholds may be chosen) or `all` of an archive's curves."""
    return [curve for curve in curves if which == "all" or curve.held_out == (which == "held-out")]
