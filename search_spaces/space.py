"""A search space: which knobs of `model.config` a study searches, and their bounds. Loads without torch and without Optuna.

    name: example
    about: one line
    fixed:                                  # set once, not searched
      training.schedule: cosine
    parameters:                             # searched, in this order
      training.learning_rate: {float: [1e-4, 2e-3], log: true}
      training.batch_size: {categorical: [16, 32]}
      network.reduction: {int: [1, 3]}      # or with `step: 2`
      loss.guided_weight: {float: [0.05, 5], log: true, or: 0}            # in the range, or 0
      loss.guided_sigma: {float: [0.2, 0.5], when: {loss.guided_weight: {above: 0}}}
      training.warmup_share: {float: [0.01, 0.1], when: {training.batch_size: 32}}      # or a list of values

A parameter whose `when:` does not hold is not suggested, and keeps the value of the settings.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.config import Config
from search_spaces.knobs import apply, values
from search_spaces.parameters import Parameter, Trial, Value
from search_spaces.validate import SpaceError, read_table
from search_spaces.yaml_reader import read, way_out

__all__ = ["SHIPPED", "Space", "SpaceError", "load"]

SHIPPED = ("default", "demo", "safe", "seed", "record", "none")


@dataclass(frozen=True, slots=True)
class Space:
    """Searched parameters, fixed settings, and the configuration for every knob that the space does not mention."""

    name: str
    about: str
    fixed: dict[str, Value]
    parameters: tuple[Parameter, ...]
    base: Config = field(default_factory=Config)

    @classmethod
    def from_dict(cls, table: Any, base: Config | None = None, where: str = "space") -> "Space":
        """Return the space of a table as YAML gives it. Raises SpaceError with all its mistakes, `where` in front of each."""
        mistakes: list[str] = []
        fixed, parameters = read_table(table, mistakes)
        about = table if isinstance(table, Mapping) else {}
        space = cls(str(about.get("name", where)), str(about.get("about", "")), fixed, parameters, base or Config())
        mistakes += space._invalid_corners()
        if mistakes:
            raise SpaceError(where, mistakes)
        return space

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Return the settings of a trial by dotted name: the fixed ones, and those that `trial` suggests.

        A parameter is suggested if its conditions hold for the values before it.
        """
        now = values(self.base) | self.fixed
        settings = dict(self.fixed)
        for parameter in self.parameters:
            if all(condition.holds(now) for condition in parameter.when):
                now[parameter.key] = settings[parameter.key] = parameter.suggest(trial)
        return settings

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """Return the settings of one random configuration."""
        return self.suggest(_RandomTrial(rng))

    def to_trial_params(self, settings: Mapping[str, Value]) -> tuple[dict[str, Any], list[str]]:
        """Return the parameters to enqueue for `suggest` to return `settings`, and a sentence for each value that must change.

        Knobs that `settings` does not name have the value of the base configuration.
        """
        start = values(self.base)
        requested = start | dict(settings)
        now = start | self.fixed
        params: dict[str, Any] = {}
        searched: dict[str, str] = {}
        for parameter in self.parameters:
            if all(condition.holds(now) for condition in parameter.when):
                now[parameter.key] = value = parameter.closest(requested[parameter.key])
                params |= parameter.params(value)
                searched[parameter.key] = parameter.why(value)
        why = dict.fromkeys(self.fixed, "fixed by the space") | searched
        changes = [
            f"{key} {_written(value)} -> {_written(now[key])} ({why.get(key, 'not searched here')})"
            for key, value in requested.items()
            if now[key] != value
        ]
        return params, changes

    def fingerprint(self) -> dict[str, Any]:
        """Return what the space searches and fixes, as JSON: two spaces with the same fingerprint are the same search."""
        return {"fixed": dict(self.fixed), "parameters": {parameter.key: parameter.describe() for parameter in self.parameters}}

    def diff(self, old: Mapping[str, Any]) -> list[str]:
        """Return a sentence for each difference between the space and an `old` fingerprint; none where they are the same."""
        new = self.fingerprint()
        sentences = []
        for part, verb in (("parameters", "searched"), ("fixed", "fixed")):
            before, after = old[part], new[part]
            for key in dict.fromkeys([*before, *after]):
                if key not in after:
                    sentences.append(f"{key} is no longer {verb}, it was {before[key]}")
                elif key not in before:
                    sentences.append(f"{key} is now {verb}, {after[key]}")
                elif before[key] != after[key]:
                    sentences.append(f"{key} was {verb} as {before[key]}, it is now {after[key]}")
        return sentences

    def _invalid_corners(self) -> list[str]:
        """Return the errors of `model.config` at the corners of the space: for each value, and each pair of values."""
        # 500 random corners contain every pair of extremes: two lists of five choices miss one in 1e8 runs.
        rng = random.Random(0)
        errors: dict[str, None] = {}
        for _ in range(500):
            settings = self.suggest(_CornerTrial(rng))
            try:
                apply(self.base, settings)
            except ValueError as error:
                errors |= dict.fromkeys(re.split(r"; (?!got )", str(error)))
        return [f"{self._named_in(error)}: {error}" for error in errors]

    def _named_in(self, message: str) -> str:
        """Return the knobs of the space that an error of `model.config` names by their last part."""
        words = set(re.findall(r"\w+", message))
        keys = [*self.fixed, *(parameter.key for parameter in self.parameters)]
        return ", ".join(key for key in keys if key.rpartition(".")[2] in words) or "with these settings"


def load(name_or_file: str | Path, base: Config | None = None) -> Space:
    """Load a shipped space by its name, or the space of a YAML file. Raises SpaceError with all mistakes, one per line.

    `base` is the configuration for the knobs that the space does not mention.
    """
    path = Path(name_or_file)
    if name_or_file in SHIPPED:
        path = Path(__file__).with_name(f"{name_or_file}.yaml")
    elif not path.exists() and path.suffix not in (".yaml", ".yml"):
        raise SpaceError("--space", [f"need a file or the name of a space, got {name_or_file}: {way_out(path.name, SHIPPED)}"])
    try:
        table = read(path)
    except ValueError as error:
        raise SpaceError(str(path), [str(error)]) from None
    return Space.from_dict(table, base, where=path.name if name_or_file in SHIPPED else str(path))


def _written(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@dataclass(frozen=True, slots=True)
class _RandomTrial:
    """A trial that suggests at random, without Optuna."""

    rng: random.Random

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        if step:
            return min(low + step * self.rng.randint(0, round((high - low) / step)), high)  # 0.1 + 3 * 0.2 > 0.7 in floats
        if log:
            return min(max(math.exp(self.rng.uniform(math.log(low), math.log(high))), low), high)
        return self.rng.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return round(self.suggest_float(name, low, high, step=None if log else step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.rng.choice(choices)


@dataclass(frozen=True, slots=True)
class _CornerTrial:
    """A trial that suggests only extremes; of whole numbers also the second, in case a knob takes only odd or even ones."""

    rng: random.Random

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        return self.rng.choice((low, high))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self.rng.choice((low, low + step, high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.rng.choice(choices)
