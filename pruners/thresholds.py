"""Thresholds at which a health signal is a warning or critical, and targets that a finished trial should meet, as settings.

Shares are of a trial's frame budget. `warmup_share`: nothing before it counts, since a young network has no alignment to lose.
`patience_share`: a critical signal stops a trial once it was critical at every validation for so long; 0 stops at the first.
Plain frozen values, no imports of the project.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

PATIENCE = 0.08  # three consecutive validations of 24
ALIGNMENT = ("diagonality", "reading")  # targets on validation, teacher-forced


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _shares(**shares: float) -> None:
    for name, value in shares.items():
        _check(0 <= value < 1, f"{name} is a share, need 0 <= {name} < 1, got {value}")


RENAMED = {"vanishing": "grad_norm_median", "alignment_score": "reading"}  # names in the settings of older studies -> today's


def renamed(health: Mapping[str, Any]) -> dict[str, Any]:
    """Return the health settings that an older version stored by today's names, those of the groups in it included."""
    return {RENAMED.get(name, name): renamed(value) if isinstance(value, Mapping) else value for name, value in health.items()}


@dataclass(frozen=True, slots=True)
class Floor:
    """Thresholds of a signal that should be high."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float
    critical: float
    warmup_share: float = 0.0
    patience_share: float = PATIENCE

    def __post_init__(self) -> None:
        _check(self.critical <= self.warn, f"need critical <= warn, got critical={self.critical}, warn={self.warn}: swap them")
        _shares(warmup_share=self.warmup_share, patience_share=self.patience_share)

    def crossed(self, value: float) -> tuple[float, bool] | None:
        """Return the threshold that `value` crosses, and whether it is the critical one; None for a healthy value."""
        if value >= self.warn:
            return None
        return (self.critical, True) if value < self.critical else (self.warn, False)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Thresholds of a signal that should be low."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float
    critical: float
    warmup_share: float = 0.0
    patience_share: float = PATIENCE

    def __post_init__(self) -> None:
        _check(self.warn <= self.critical, f"need warn <= critical, got warn={self.warn}, critical={self.critical}: swap them")
        _shares(warmup_share=self.warmup_share, patience_share=self.patience_share)

    def crossed(self, value: float) -> tuple[float, bool] | None:
        """Return the threshold that `value` crosses, and whether it is the critical one; None for a healthy value."""
        if value <= self.warn:
            return None
        return (self.critical, True) if value > self.critical else (self.warn, False)


@dataclass(frozen=True, slots=True)
class NoAlignment:
    """Critical when both are lower than these. One of them alone may be low where a voice starts at another pace."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    diagonality: float = 0.4
    reading: float = 0.5
    warmup_share: float = 0.1
    patience_share: float = 0.04

    def __post_init__(self) -> None:
        _shares(
            diagonality=self.diagonality,
            reading=self.reading,
            warmup_share=self.warmup_share,
            patience_share=self.patience_share,
        )


@dataclass(frozen=True, slots=True)
class Mumbling:
    """Thresholds of the share of the letters that will be heard at the end of the budget, at the pace so far."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float = 0.6
    critical: float = 0.4
    warmup_share: float = 0.2

    def __post_init__(self) -> None:
        _check(self.critical <= self.warn, f"need critical <= warn, got critical={self.critical}, warn={self.warn}: swap them")
        _check(self.critical <= 1, f"critical is a share of the letters, need critical <= 1, got {self.critical}")
        _shares(warmup_share=self.warmup_share)


@dataclass(frozen=True, slots=True)
class GradNorm:
    """Thresholds of the 95th percentile of a window between two reports, absolute and relative to the trial's own past."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float = 10.0
    critical: float = 100.0
    relative: float = 10.0  # times the running median of the trial's own windows: critical as well
    patience_share: float = PATIENCE

    def __post_init__(self) -> None:
        _check(self.warn <= self.critical, f"need warn <= critical, got warn={self.warn}, critical={self.critical}: swap them")
        _check(self.warn > 0, f"need warn > 0, got {self.warn}: every norm would be a warning")
        _check(self.relative > 1, f"need relative > 1, got {self.relative}: the running median itself would be critical")
        _shares(patience_share=self.patience_share)


@dataclass(frozen=True, slots=True)
class Nonfinite:
    """Thresholds of the optimiser steps that were skipped because the loss or a gradient was not finite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: int = 1  # steps in a window
    critical: int = 5  # consecutive steps; those that the loss scaler skips while it settles do not count

    def __post_init__(self) -> None:
        _check(1 <= self.warn <= self.critical, f"need 1 <= warn <= critical, got warn={self.warn}, critical={self.critical}")


@dataclass(frozen=True, slots=True)
class Stagnation:
    """Thresholds of the relative gain of the validation loss over the last `window_share` of the budget."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    warn: float = 0.02
    critical: float = 0.005
    window_share: float = 0.4

    def __post_init__(self) -> None:
        _check(self.critical <= self.warn, f"need critical <= warn, got critical={self.critical}, warn={self.warn}: swap them")
        _shares(window_share=self.window_share)
        _check(self.window_share > 0, f"need window_share > 0, got {self.window_share}: a gain needs some frames")


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets that a finished trial must meet on validation to count as healthy: the constraints of the study."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    understood: float = 0.1  # at most: character errors of the free-running sentences beyond those of the recordings
    mumbled: float = 0.3  # the same of one sentence, beyond which it counts as a fault
    free_failures: float = 0.1  # at most: share of the free-running sentences with a fault
    # Where there is no listener that hears well enough, instead of `understood`:
    diagonality: float = 0.8  # at least
    reading: float = 0.8  # at least

    def __post_init__(self) -> None:
        for name in ("understood", "mumbled", "free_failures", *ALIGNMENT):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"{name} is a share, need 0 <= {name} <= 1, got {value}")

    def missed(self, measured: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much a trial misses each target: > 0 is missed. What was not measured is missed by 1.

        measured: the signals of a health record (pruners/health_record.py) at one report.
        """
        failures, errors, floor = (measured.get(f"free_{name}") for name in ("failures", "errors", "floor"))
        found = {"free_failures": 1.0 if failures is None else failures - self.free_failures}
        if errors is not None and floor is not None:
            return {"understood": errors - floor - self.understood} | found
        known = {name: measured.get(name) for name in ALIGNMENT}
        return {name: 1.0 if value is None else getattr(self, name) - value for name, value in known.items()} | found


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of every rule by its name (pruners/rules.py), and the targets."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    grad_norm: GradNorm = GradNorm()
    nonfinite: Nonfinite = Nonfinite()
    grad_norm_median: Floor = Floor(1e-6, 1e-8)  # of a window: gradients that vanish
    no_alignment: NoAlignment = NoAlignment()  # the earliest sign
    diagonality: Floor = Floor(0.7, 0.4, warmup_share=0.3)
    reading: Floor = Floor(0.7, 0.3, warmup_share=0.2)  # the slowest good one read 0.4 by then
    coverage: Floor = Floor(0.9, 0.6, warmup_share=0.3)  # meaningless early: uniform attention covers everything
    gate_accuracy: Floor = Floor(0.8, 0.55, warmup_share=0.4)  # prunes what never fires: that gets 0.5
    progress: Floor = Floor(0.05, -0.1, warmup_share=0.3)  # 1 - EMA(loss) / loss at the end of the warm-up
    mumbling: Mumbling = Mumbling()  # free-running, at the reports that have it
    relapse: Ceiling = Ceiling(0.3, 0.6)  # share of its best reading that a trial has lost
    overfit_gap: Ceiling = Ceiling(0.3, 1.0)  # counts only while the validation loss rises
    stagnation: Stagnation = Stagnation()
    targets: Targets = Targets()


@dataclass(frozen=True, slots=True)
class PrunerSettings:
    """Which rules may stop a trial early, and how it is compared with its peers."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    # health: the rules; peers: comparison with the best healthy trial at equal frames; both: rules first; none: no pruning
    name: Literal["health", "peers", "both", "none"] = "health"
    margin: float = 0.5  # a value of up to 1 + slack + margin times the best trial's is allowed at the start,
    slack: float = 0.5  # and of up to 1 + slack times at the end of the budget
    min_share: float = 0.2  # of the frame budget: no value is compared before
    least: int = 2  # with fewer healthy complete trials no value is compared
    protected: float = 0.25  # best share of the healthy trials at equal frames: not stopped by a rule with a healthy precedent

    def __post_init__(self) -> None:
        bar = self.margin + self.slack
        rule = f"need margin and slack >= 0 and one of them > 0, got {self.margin} and {self.slack}"
        _check(min(self.margin, self.slack) >= 0 < bar, f"{rule}: every trial behind the best would be stopped")
        _shares(min_share=self.min_share, protected=self.protected)
        _check(self.least >= 1, f"need least >= 1, got {self.least}: a comparison needs a trial to compare with")
