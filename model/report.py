"""A trainer's report: plain floats that JSON can hold, free of torch. A missing value is None, never 0."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Losses:
    """Unweighted loss terms. Mel errors are masked mean squares, where 1 is the corpus's mel variance."""

    mel_before: float | None  # before the postnet
    mel_after: float | None  # after the postnet
    gate: float | None  # stop token's cross-entropy in nats per decoder step, positive weight 1
    guided: float | None  # attention mass off the diagonal, per decoder step (arXiv:1710.08969, eq. 6)

    @property
    def score(self) -> float | None:
        """The unweighted loss by which trials are compared: both mel errors and the gate. None where a term is missing."""
        terms = (self.mel_before, self.mel_after, self.gate)
        return None if any(term is None for term in terms) else sum(term for term in terms if term is not None)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradient norms since the last report: L2 over all parameters, unscaled, before clipping."""

    median: float | None
    p95: float | None
    nonfinite: int  # steps skipped because the loss or a gradient was not finite
    streak: int  # most consecutive steps of this kind; steps that the loss scaler skips while it adapts do not count
    clipped: float | None  # share of finite steps above clip_norm
    culprit: str | None = None  # the first non-finite term: mel_before, mel_after, gate, guided or gradient


@dataclass(frozen=True, slots=True)
class Health:
    """Attention and stop token (gate) under teacher forcing: means over utterances of masked measurements (model/health.py)."""

    diagonality: float | None
    focus: float | None
    coverage: float | None
    backtrack: float | None
    order: float | None
    alignment_score: float | None  # focus * reading
    gate_accuracy: float | None  # balanced: mean of the recalls before and at the end
    stop_f1: float | None
    stop_error: float | None  # mean distance of the first predicted stop from the true one, frames
    reading: float | None = None  # how much of the text is read, and in which order; not in reports of older versions


@dataclass(frozen=True, slots=True)
class Free:
    """Free-running synthesis of the validation sentences: means over them (model/spoken.py). All None where it was not run."""

    value: float | None = None  # the score `speech`, smaller is better (objective/trial/score.py)
    errors: float | None = None  # character error rate; None without a listener that hears well
    floor: float | None = None  # that of the recordings, by the same listener
    failures: float | None = None  # share of the sentences with a fault
    length: float | None = None  # where 1 is that of the recordings
    silence: float | None = None  # share of silent frames within the speech
    alignment_score: float | None = None
    mcd_db: float | None = None  # mel-cepstral distortion


@dataclass(frozen=True, slots=True)
class Report:
    """One measurement of a running training. `kframes` is thousands of valid mel frames seen: Optuna's step and resource."""

    kframes: float
    updates: int  # optimiser steps
    seconds: float  # spent in training and validation so far
    learning_rate: float
    guided_weight: float  # as decayed so far
    train: Losses  # means since the last report
    validation: Losses
    gradients: Gradients
    health: Health  # on the validation set
    train_health: Health  # on the last training batch, with dropout
    free: Free = Free()

    @property
    def val_loss(self) -> float | None:
        return self.validation.score

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Rebuild the report from `as_dict`'s values."""
        losses = {name: Losses(**values[name]) for name in ("train", "validation")}
        health = {name: Health(**values[name]) for name in ("health", "train_health")}
        free = Free(**values.get("free", {}))  # reports of older versions have none
        return cls(**values | losses | health | {"gradients": Gradients(**values["gradients"]), "free": free})
