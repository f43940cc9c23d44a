"""What every view draws of a report: ten numbers, by the same names everywhere, over kframes rounded to whole ones."""

from datetime import datetime

from model.report import Report


def measures(report: Report) -> dict[str, float]:
    """By name; what could not be measured is left out."""
    train, validation = report.train.score, report.val_loss
    known = {
        "training.loss": train,
        "validation.loss": validation,
        "grad.norm": report.gradients.median,
        "alignment.diagonality": report.health.diagonality,
        "alignment.score": report.health.alignment_score,
        "alignment.coverage": report.health.coverage,
        "alignment.focus": report.health.focus,
        "gate.accuracy": report.health.gate_accuracy,
        "overfitting.gap": (validation - train) / train if validation is not None and train else None,
        "learning_rate": report.learning_rate,
    }
    return {name: value for name, value in known.items() if value is not None}


def step(kframes: float) -> int:
    """Where a report stands on the axis: Optuna's step."""
    return round(kframes)


def clock(at: str) -> float:
    """Seconds since 1970 of an event's time."""
    return datetime.fromisoformat(at).timestamp()
