"""A trainer's whole state as one value: what must be saved so that a resumed run cannot be told from an uninterrupted one."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class Cursor:
    """Where a trainer stands, apart from its tensors."""

    frames: int = 0  # valid mel frames seen
    updates: int = 0
    epoch: int = 0
    batch: int = 0  # the next one of the epoch
    part: int | None = None  # utterances in the memory at once, where a whole batch was too many
    mark: int = 0  # reports made
    seconds: float = 0.0
    aligned_at: int | None = None  # frames at the first validation whose alignment_score reached `guided_until`


@dataclass(frozen=True, slots=True)
class Snapshot:
    cursor: Cursor
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]  # empty without fp16
    random: dict[str, Tensor]  # generator states: cpu, and cuda where used
    window: dict[str, Any] = field(default_factory=dict)  # what was measured since the last report

    def as_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that it can be read back with `torch.load(weights_only=True)`."""
        return {
            "cursor": asdict(self.cursor),
            "weights": self.weights,
            "optimiser": self.optimiser,
            "scaler": self.scaler,
            "random": self.random,
            "window": self.window,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Snapshot":
        """Of a file of a trial, which also holds other things, the snapshot."""
        known = {name: value for name, value in values.items() if name in cls.__slots__}
        return cls(**{**known, "cursor": Cursor(**values["cursor"])})
