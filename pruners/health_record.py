"""The health record: a trial's curves as one versioned JSON value.

Rules read nothing else, so they work in another process, after a resume and on recorded curves. A missing value is None, not 0;
a signal that the record of an older version lacks was measured nowhere.
"""

from typing import Any

from model.report import Report

VERSION = 1
MAX_REPORTS = 256  # the newest quarter keeps every report, the older ones are thinned out

TRAINING = ("kframes", "val_loss", "train_loss", "grad_norm_median", "grad_norm_p95", "nonfinite", "streak")
HEALTH = ("diagonality", "focus", "coverage", "backtrack", "reading", "alignment_score", "gate_accuracy", "stop_f1")
FREE = ("value", "errors", "floor", "failures")  # free-running, as free_errors and so on; measured at some reports only
FREE_SIGNALS = tuple(f"free_{name}" for name in FREE)
SIGNALS = TRAINING + HEALTH + FREE_SIGNALS

Record = dict[str, Any]


def empty(budget_kframes: float) -> Record:
    """Return the record of a trial without a report: `v`, `budget_kframes`, and an empty list for each of SIGNALS."""
    return {"v": VERSION, "budget_kframes": budget_kframes, **{name: [] for name in SIGNALS}}


def measurements(report: Report) -> dict[str, float | None]:
    """Return the measurements of a report by the record's signals."""
    return {
        "kframes": report.kframes,
        "val_loss": report.val_loss,
        "train_loss": report.train.score,
        "grad_norm_median": report.gradients.median,
        "grad_norm_p95": report.gradients.p95,
        "nonfinite": report.gradients.nonfinite,
        "streak": report.gradients.streak,
        **{name: getattr(report.health, name) for name in HEALTH},
        **{f"free_{name}": getattr(report.free, name) for name in FREE},
    }


def checked(record: Any) -> Record:
    """Return a record that somebody's own code has made. Raises ValueError where rules could not read it."""
    way_out = "make it with `empty` and `extended` of pruners/health_record.py"
    if not isinstance(record, dict):
        raise ValueError(f"need a health record, a dictionary, got a {type(record).__name__}: {way_out}")
    missing = [name for name in ("budget_kframes", *TRAINING) if name not in record]
    if missing:
        raise ValueError(f"need a health record with {', '.join(missing)}, got one without: {way_out}")
    count = len(record["kframes"])
    uneven = [name for name in SIGNALS if name in record and len(record[name]) != count]
    if uneven:
        rule = f"need a value of each signal for each of {count} reports"
        raise ValueError(f"{rule}, got others of {', '.join(uneven)}: {way_out}")
    return record


def values_of(record: Record, signal: str) -> list[float | None]:
    """Return the values of a signal, one for each report."""
    values: list[float | None] = record[signal] if signal in record else [None] * len(record["kframes"])
    return values


def extended(record: Record, values: dict[str, float | None]) -> Record:
    """Return the record with one more report; over MAX_REPORTS every second one of the older three quarters is left out."""
    longer = {**record, **{name: [*values_of(record, name), values.get(name)] for name in SIGNALS}}
    if len(longer["kframes"]) <= MAX_REPORTS:
        return longer
    newest = MAX_REPORTS // 4
    return {**longer, **{name: longer[name][:-newest][::2] + longer[name][-newest:] for name in SIGNALS}}


def excerpt(record: Record, first: int, end: int | None) -> Record:
    """Return the record as if it had only the reports from `first` up to, not including, `end`."""
    return {**record, **{name: values_of(record, name)[first:end] for name in SIGNALS}}
