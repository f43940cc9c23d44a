"""A trainer's complete state as one value: a resumed run equals an uninterrupted one, bit for bit."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class Cursor:
    """A trainer's position in its run: all of its state apart from tensors."""

    frames: int = 0  # valid mel frames seen
    updates: int = 0
    epoch: int = 0
    batch: int = 0  # index of the next batch of the epoch
    part: int | None = None  # utterances that fit into memory at once, where a complete batch did not
    mark: int = 0  # reports made
    seconds: float = 0.0
    aligned_at: int | None = None  # frames at the first validation whose alignment_score reached `guided_until`
    rate_scale: float = 1.0  # of the learning rate: a training that repairs itself lowers it (objective/trial/rescue.py)
    rate_from: int = 0  # frames at which the schedule of the learning rate has started anew


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a trainer. Its tensors are the trainer's own: save or copy it before the next update."""

    symbols: tuple[str, ...]  # of the embeddings, in the order of their ids: weights are of use for these alone
    cursor: Cursor
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]  # empty without fp16
    random: dict[str, Tensor]  # generator states: cpu, and cuda where used
    window: dict[str, Any] = field(default_factory=dict)  # measurements since the last report
    average: dict[str, Any] = field(default_factory=dict)  # empty without averaged weights

    def as_dict(self) -> dict[str, Any]:
        """Return tensors and plain values only, so that `torch.load(weights_only=True)` reads them back."""
        return {
            "symbols": list(self.symbols),
            "cursor": asdict(self.cursor),
            "weights": self.weights,
            "optimiser": self.optimiser,
            "scaler": self.scaler,
            "random": self.random,
            "window": self.window,
            "average": self.average,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Snapshot":
        """Rebuild the snapshot from `as_dict`'s values; other keys, which a trial's file has, are ignored."""
        own = {name: values[name] for name in cls.__slots__ if name in values}
        return cls(**{**own, "symbols": tuple(values["symbols"]), "cursor": Cursor(**values["cursor"])})
