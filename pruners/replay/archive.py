"""Read an archive of whole learning curves: JSON lines, one trial each, as `objective/search/recording.py` writes them.

    {"params": {...}, "seconds": s, "points": [{"kframes": k, "val_loss": v, "diagonality": ..., ...}, ...]}

and, where they are known, `k`, `held_out`, `budget_kframes`, `end` and `kept`. Each of the points is a report. A missing
signal, a null, NaN and an infinity are all None. A trial's value and condition (healthy, weak, sick) follow from the snapshot
that a study would have kept and from its free-running synthesis, independently of any rule. Archives of older versions hold no
`reading`: its rules find nothing there, and its target is not missed. Loads without torch and Optuna.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import BadInput
from pruners.health_record import SIGNALS, Record, empty, extended
from pruners.thresholds import Targets

# Sick: below these thresholds a network does not speak at all. At a reading of 0.3 (in archives that have none, an alignment
# score) no order of the text is left, a balanced gate accuracy below 0.8 misses two stops in five, and most of the free-running
# sentences are cut short or never stop. A trial between these thresholds and the targets is weak: neither a success nor clearly
# sick.
SICK_READING = 0.3
SICK_GATE = 0.8
SICK_FAILURES = 0.5

FIELDS = ("k", "params", "seconds", "budget_kframes")


class ArchiveError(BadInput):
    """A line of an archive is not a recorded trial."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial, trained to the end of its budget."""

    k: int
    held_out: bool
    params: dict[str, Any]
    seconds: float | None
    budget_kframes: float
    prefixes: tuple[Record, ...]  # the health record as a live trial would have stored it at each report
    val_losses: tuple[float | None, ...]
    value: float | None  # of the kept snapshot, smaller is better; None where no loss was finite
    violations: dict[str, float]  # of the kept snapshot, by target: > 0 is missed
    condition: str  # "healthy", "weak" or "sick"
    more: dict[str, Any]  # the line's other keys unchanged: points, end, kept, unknown ones

    @property
    def full_kframes(self) -> float:
        """The end of the trial if nothing stops it: the end of its budget, or its first loss that is not finite."""
        ended = self.val_losses.index(None) if None in self.val_losses else -1
        return float(self.prefixes[ended]["kframes"][-1])


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
            line[name] = {key: _number(number, f"{name}.{key}", value) for key, value in line[name].items()}
    _need(line["budget_kframes"] is None or line["budget_kframes"] > 0, number, "budget_kframes > 0", line["budget_kframes"])
    return line


def _curve(number: int, index: int, line: dict[str, Any], longest: float, targets: Targets) -> Curve:
    points = line["points"]
    budget = float(line["budget_kframes"] or longest)
    prefixes, record = [], empty(budget)
    for point in points:
        record = extended(record, point)
        prefixes.append(record)
    kept = _kept(number, line, targets)
    failures = _failures(number, line)
    violations = {} if kept is None else _missed(kept, points, targets)
    if kept is not None and failures is not None:
        violations["free_failures"] = failures - targets.free_failures
    k = index if line.get("k") is None else line["k"]
    return Curve(
        k=k,
        held_out=k % 2 == 1 if line.get("held_out") is None else line["held_out"],
        params=line.get("params") or {},
        seconds=line["seconds"],
        budget_kframes=budget,
        prefixes=tuple(prefixes),
        val_losses=tuple(point["val_loss"] for point in points),
        value=None if kept is None else kept["val_loss"],
        violations=violations,
        condition=_condition(kept, violations, failures),
        more={name: value for name, value in line.items() if name not in FIELDS},
    )


def _kept(number: int, line: dict[str, Any], targets: Targets) -> dict[str, Any] | None:
    """Return the point whose snapshot a study keeps: the one that `kept` names, else the best. None where no loss is finite."""
    points: list[dict[str, Any]] = [point for point in line["points"] if point["val_loss"] is not None]
    if not points:
        return None
    if line.get("kept") is not None:
        wanted = _number(number, "kept.kframes", line["kept"].get("kframes"))
        named = [point for point in points if point["kframes"] == wanted]
        _need(bool(named), number, "kept.kframes to be those of a point with a val_loss", wanted)
        return named[0]
    # The same order as `better` in objective/trial/score.py; among equals the first.
    best: dict[str, Any] = min(points, key=lambda point: (_misses(_missed(point, points, targets)), point["val_loss"]))
    return best


def _missed(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]], targets: Targets) -> dict[str, float]:
    """Return by how much a point misses each target that is known of its trial."""
    unknown = {name for name in ("reading", "free_failures") if all(point.get(name) is None for point in points)}
    return {name: amount for name, amount in targets.missed(point).items() if name not in unknown}


def _misses(violations: dict[str, float]) -> bool:
    return any(amount > 0 for amount in violations.values())


def _failures(number: int, line: dict[str, Any]) -> float | None:
    """Return the share of the free-running sentences that stop too early or never, of the kept snapshot, else of the last."""
    synthesis = line.get("kept") or line.get("end") or {}
    rates = [_number(number, name, synthesis.get(name)) for name in ("premature_rate", "overrun_rate")]
    return None if rates[0] is None or rates[1] is None else rates[0] + rates[1]


def _condition(kept: Mapping[str, Any] | None, violations: dict[str, float], failures: float | None) -> str:
    """Return "healthy" (meets every target), "sick" (below the thresholds above) or "weak"."""
    if kept is None:
        return "sick"
    read = kept["alignment_score"] if kept["reading"] is None else kept["reading"]
    scores = ((read, SICK_READING), (kept["gate_accuracy"], SICK_GATE))
    if any(score is not None and score < limit for score, limit in scores) or (failures or 0.0) > SICK_FAILURES:
        return "sick"
    return "weak" if _misses(violations) else "healthy"


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
