"""What the trainer says at a point of the frame grid: plain floats, JSON-able, no torch. A missing value is None, never 0."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Losses:
    """Unweighted loss terms. Mel errors are masked means of squares, 1 being the corpus's mel variance."""

    mel_before: float | None  # before the postnet
    mel_after: float | None  # after the postnet
    gate: float | None  # cross-entropy in nats per decoder step, positive weight 1
    guided: float | None  # attention mass off the diagonal, per decoder step (arXiv:1710.08969, eq. 6)

    @property
    def score(self) -> float | None:
        """The weight-free loss by which trials are compared: both mel errors and the gate. None where a term is missing."""
        terms = (self.mel_before, self.mel_after, self.gate)
        return None if any(term is None for term in terms) else sum(term for term in terms if term is not None)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradient norms since the last report: L2 over all parameters, unscaled, before clipping."""

    median: float | None
    p95: float | None
    nonfinite: int  # steps skipped because the loss or a gradient was not finite
    streak: int  # the longest run of such steps, steps that the loss scaler skips while it settles left out
    clipped: float | None  # share of finite steps above clip_norm
    culprit: str | None = None  # the first non-finite term: mel_before, mel_after, gate, guided or gradient


@dataclass(frozen=True, slots=True)
class Health:
    """Attention and gate, teacher-forced: means over utterances of masked measurements."""

    diagonality: float | None
    focus: float | None
    coverage: float | None
    backtrack: float | None
    order: float | None
    alignment_score: float | None
    gate_accuracy: float | None  # balanced: mean of the recalls before and at the end
    stop_f1: float | None
    stop_error: float | None  # mean distance of the first predicted stop from the true one, frames


@dataclass(frozen=True, slots=True)
class Report:
    """One point of a trial. `kframes` is thousands of valid mel frames seen: the resource, and the Optuna step."""

    kframes: float
    updates: int  # optimiser steps
    seconds: float  # spent in training and validation so far
    learning_rate: float
    guided_weight: float  # as decayed so far
    train: Losses  # means since the last report
    validation: Losses
    gradients: Gradients
    health: Health  # on the validation set
    train_health: Health  # on the last batch trained on, dropout and all

    @property
    def val_loss(self) -> float | None:
        return self.validation.score

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """What `as_dict` gave."""
        losses = {name: Losses(**values[name]) for name in ("train", "validation")}
        health = {name: Health(**values[name]) for name in ("health", "train_health")}
        return cls(**values | losses | health | {"gradients": Gradients(**values["gradients"])})
