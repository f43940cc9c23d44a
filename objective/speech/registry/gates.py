"""Gates that a version of a voice passes before it is served: each a figure of its tags against a limit.

The limits are those of the rules and targets of a study (pruners/thresholds.py), at their defaults.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Literal

from pruners.thresholds import Thresholds

TRAINING, QUALITY = "figures", "quality"  # prefixes of tags: what voice.pt carries, and the JSON of `tacotune quality`
LIMITS = Thresholds()

Tags = Mapping[str, str]
Outcome = Literal["passed", "failed", "not measured"]


@dataclass(frozen=True, slots=True)
class Row:
    """A gate with what was found."""

    gate: str
    figure: str  # what was measured
    limit: str
    value: str
    outcome: Outcome
    required: bool = False  # must be measured

    @property
    def closed(self) -> bool:
        """True if it keeps a version from being served."""
        return self.outcome == "failed" or (self.required and self.outcome == "not measured")


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit of a figure, which `measure` finds in the tags: the worst of what was measured, None where nothing was."""

    name: str
    figure: str
    measure: Callable[[Tags], float | None]
    most: float = inf
    least: float = -inf
    required: bool = False

    def row(self, tags: Tags) -> Row:
        """Compare the figure with the limit. A figure that is not finite fails."""
        value = self.measure(tags)
        if value is None:
            return Row(self.name, self.figure, self.limit, "-", "not measured", self.required)
        passed = isfinite(value) and self.least <= value <= self.most
        return Row(self.name, self.figure, self.limit, f"{value:.3g}", "passed" if passed else "failed", self.required)

    @property
    def limit(self) -> str:
        """The limit in words."""
        if isfinite(self.least):
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if isfinite(self.most) else "finite"


def rows(tags: Tags) -> list[Row]:
    """Return every gate with what the tags of a version say of it."""
    return [gate.row(tags) for gate in GATES]


def _figure(tags: Tags, name: str) -> float | None:
    """Return a figure of the tags; one that is no number counts as not finite."""
    if name not in tags:
        return None
    try:
        return float(tags[name])
    except ValueError:
        return nan


def _training(name: str) -> Callable[[Tags], float | None]:
    return lambda tags: _figure(tags, f"{TRAINING}.{name}")


def _not_understood(tags: Tags) -> Iterator[float | None]:
    """Yield the letters heard wrong beyond those of the recordings, where the voice was trained and where it was measured."""
    for heard, floor in (
        (f"{TRAINING}.free_errors", f"{TRAINING}.free_floor"),
        (f"{QUALITY}.cer", f"{QUALITY}.recordings.cer"),
    ):
        said, recorded = _figure(tags, heard), _figure(tags, floor)
        yield None if said is None or recorded is None else said - recorded


def _failures(tags: Tags) -> Iterator[float | None]:
    """Yield the shares of sentences with a fault, of each measurement."""
    for name in (f"{TRAINING}.free_failures", f"{QUALITY}.failures", f"{QUALITY}.free_running.failures"):
        yield _figure(tags, name)


def _worst(measured: Callable[[Tags], Iterator[float | None]]) -> Callable[[Tags], float | None]:
    """Return the largest of what was measured; not a number where one of them is none."""

    def worst(tags: Tags) -> float | None:
        known = [value for value in measured(tags) if value is not None]
        return nan if not all(map(isfinite, known)) else max(known, default=None)

    return worst


GATES = (
    Gate("loss", "validation loss", _training("val_loss")),
    Gate("divergence", "steps in a row that were not finite", _training("streak"), most=LIMITS.nonfinite.critical - 1),
    Gate("gradient norm", "95th percentile before clipping", _training("grad_norm_p95"), most=LIMITS.grad_norm.warn),
    Gate("diagonality", "of the attention", _training("diagonality"), least=LIMITS.diagonality.warn),
    Gate(
        "understood",
        "letters heard wrong beyond the recordings'",
        _worst(_not_understood),
        most=LIMITS.targets.understood,
        required=True,
    ),
    Gate("stops", "sentences with a fault", _worst(_failures), most=LIMITS.targets.free_failures, required=True),
)
