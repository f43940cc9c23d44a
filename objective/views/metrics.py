"""The numbers that every view draws of a report, by the same names everywhere, over kframes rounded to whole ones.

A kframe is a thousand mel frames seen in training.
"""

from dataclasses import asdict
from datetime import datetime

from model.report import Report


def measures(report: Report) -> dict[str, float]:
    """Return the numbers of a report by their names; what could not be measured is left out."""
    train, validation = report.train.score, report.val_loss
    values = {
        "training.loss": train,
        "validation.loss": validation,
        "grad.norm": report.gradients.median,
        "alignment.diagonality": report.health.diagonality,
        "alignment.reading": report.health.reading,
        "alignment.coverage": report.health.coverage,
        "alignment.focus": report.health.focus,
        "gate.accuracy": report.health.gate_accuracy,
        "overfitting.gap": (validation - train) / train if validation is not None and train else None,
        "learning_rate": report.learning_rate,
        **{f"free.{name}": value for name, value in asdict(report.free).items()},  # where it was judged free-running
    }
    return {name: value for name, value in values.items() if value is not None}


def step(kframes: float) -> int:
    """Return the position of a report on the axis: Optuna's step."""
    return round(kframes)


def clock(at: str) -> float:
    """Convert an event's time to seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()
