"""Levels from which a health signal is a warning or critical, and what a finished trial should reach, as settings.

They are starting points. Plain frozen values, no imports of the project.
"""
from dataclasses import dataclass
from typing import Any, ClassVar


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _patient(patience: int) -> None:
    _check(patience >= 1, f"need patience >= 1 validation, got {patience}: 1 stops at the first critical one")


@dataclass(frozen=True, slots=True)
class Floor:
    """A signal that is sick when it is low."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float
    critical: float
    patience: int = 3  # validations running below `critical` that stop a trial

    def __post_init__(self) -> None:
        _check(self.critical <= self.warn, f"need critical <= warn, got critical={self.critical}, warn={self.warn}: swap them")
        _patient(self.patience)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A signal that is sick when it is high."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float
    critical: float
    patience: int = 3  # validations running above `critical` that stop a trial

    def __post_init__(self) -> None:
        _check(self.warn <= self.critical, f"need warn <= critical, got warn={self.warn}, critical={self.critical}: swap them")
        _patient(self.patience)


@dataclass(frozen=True, slots=True)
class GradNorm:
    """The 95th percentile of a window between two reports: sick when high, or high against the trial's own past."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float = 10.0
    critical: float = 100.0
    relative: float = 10.0  # times the running median of the trial's own windows: critical as well
    patience: int = 3  # windows running

    def __post_init__(self) -> None:
        _check(self.warn <= self.critical, f"need warn <= critical, got warn={self.warn}, critical={self.critical}: swap them")
        _check(self.warn > 0, f"need warn > 0, got {self.warn}: every norm would be a warning")
        _check(self.relative > 1, f"need relative > 1, got {self.relative}: the running median itself would be critical")
        _patient(self.patience)


@dataclass(frozen=True, slots=True)
class Nonfinite:
    """Optimiser steps skipped because the loss or a gradient was not finite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: int = 1  # steps in a window
    critical: int = 5  # steps running; those that the loss scaler skips while it settles do not count

    def __post_init__(self) -> None:
        _check(1 <= self.warn <= self.critical, f"need 1 <= warn <= critical, got warn={self.warn}, critical={self.critical}")


@dataclass(frozen=True, slots=True)
class Stagnation:
    """The relative gain of the validation loss over the last `window` validations."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float = 0.02
    critical: float = 0.005
    window: int = 10  # validations

    def __post_init__(self) -> None:
        _check(self.critical <= self.warn, f"need critical <= warn, got critical={self.critical}, warn={self.warn}: swap them")
        _check(self.window >= 2, f"need window >= 2 validations, got {self.window}: a gain needs a first and a last")


@dataclass(frozen=True, slots=True)
class Targets:
    """What a finished trial must reach on validation to count as healthy: the constraints of the study."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    diagonality: float = 0.8  # at least
    alignment_score: float = 0.6  # at least
    gate_accuracy: float = 0.9  # at least
    free_failures: float = 0.25  # at most: share of the free-running sentences that stop too early or never

    def __post_init__(self) -> None:
        for name in ("diagonality", "alignment_score", "gate_accuracy", "free_failures"):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"{name} is a share, need 0 <= {name} <= 1, got {value}")


@dataclass(frozen=True, slots=True)
class Levels:
    """Every level. Attention and gate count only after the warm-up: a young model has no alignment to lose."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warmup_share: float = 0.30  # of the frame budget, for diagonality, alignment_score, coverage and progress
    gate_warmup_share: float = 0.60  # the same for gate_accuracy: a good gate comes late
    grad_norm: GradNorm = GradNorm()
    nonfinite: Nonfinite = Nonfinite()
    vanishing: Floor = Floor(1e-6, 1e-8)  # median gradient norm of a window
    diagonality: Floor = Floor(0.7, 0.4)
    alignment_score: Floor = Floor(0.3, 0.1)
    coverage: Floor = Floor(0.9, 0.6)
    gate_accuracy: Floor = Floor(0.8, 0.6)
    overfit_gap: Ceiling = Ceiling(0.3, 1.0)  # counts only while the validation loss rises
    stagnation: Stagnation = Stagnation()
    progress: Floor = Floor(0.05, -0.1)  # 1 - EMA(loss) / loss at the end of `warmup_share`
    targets: Targets = Targets()

    def __post_init__(self) -> None:
        for name in ("warmup_share", "gate_warmup_share"):
            value = getattr(self, name)
            _check(0 <= value < 1, f"{name} is a share, need 0 <= {name} < 1, got {value}")
