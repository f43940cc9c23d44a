"""The health record: a trial's curves as one versioned JSON value. Rules read nothing else, so they work in another process,
after a resume and over recorded curves. A missing value is None, never 0.
"""

from typing import Any

from model.report import Report

VERSION = 1
POINTS = 256  # at most; the newest quarter keeps every point, the rest thins out

TRAINING = ("kframes", "val_loss", "train_loss", "grad_norm_median", "grad_norm_p95", "nonfinite", "streak")
HEALTH = ("diagonality", "focus", "coverage", "backtrack", "alignment_score", "gate_accuracy", "stop_f1")
SIGNALS = TRAINING + HEALTH

Record = dict[str, Any]


def empty(budget_kframes: float) -> Record:
    return {"v": VERSION, "budget_kframes": budget_kframes, **{name: [] for name in SIGNALS}}


def point(report: Report) -> dict[str, float | None]:
    """One report as the record's signals."""
    return {
        "kframes": report.kframes,
        "val_loss": report.val_loss,
        "train_loss": report.train.score,
        "grad_norm_median": report.gradients.median,
        "grad_norm_p95": report.gradients.p95,
        "nonfinite": report.gradients.nonfinite,
        "streak": report.gradients.streak,
        **{name: getattr(report.health, name) for name in HEALTH},
    }


def extended(record: Record, values: dict[str, float | None]) -> Record:
    """The record with one more point; over POINTS, every second one of the older three quarters is left out."""
    longer = {**record, **{name: [*record[name], values.get(name)] for name in SIGNALS}}
    if len(longer["kframes"]) <= POINTS:
        return longer
    newest = POINTS // 4
    return {**longer, **{name: longer[name][:-newest][::2] + longer[name][-newest:] for name in SIGNALS}}


def part(record: Record, first: int, end: int | None) -> Record:
    """The record as if it had only the points `first` to before `end`."""
    return {**record, **{name: record[name][first:end] for name in SIGNALS}}
