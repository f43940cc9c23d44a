"""One searched knob: a number between bounds or a choice, the conditions under which it is searched, and its suggestion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Value = float | int | str


class Trial(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that holds where an earlier parameter is one of `values`, or above a number."""

    key: str
    values: tuple[Value, ...] = ()
    above: float | None = None

    def holds(self, settings: Mapping[str, Any]) -> bool:
        value = settings[self.key]
        return value in self.values if self.above is None else value > self.above

    def describe(self) -> Any:
        """Return the condition as YAML gives it."""
        return list(self.values) if self.above is None else {"above": self.above}


@dataclass(frozen=True, slots=True)
class Number:
    """A float or an int in [low, high], in steps or on a logarithmic scale; `off` is a further value outside the range."""

    key: str
    kind: Literal["float", "int"]
    low: Any
    high: Any
    log: bool = False
    step: Any = None
    off: Value | None = None
    when: tuple[Condition, ...] = ()

    @property
    def switch(self) -> str:
        """The name of the parameter by which a trial decides between the range and `off`."""
        return f"{self.key}.on"

    def suggest(self, trial: Trial) -> Value:
        if self.off is not None and not trial.suggest_categorical(self.switch, [True, False]):
            return self.off
        if self.kind == "int":
            return trial.suggest_int(self.key, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def closest(self, value: Any) -> Value:
        """Return the value of this parameter that is nearest to `value`."""
        if self.off is not None and value == self.off:
            return self.off
        inside = min(max(value, self.low), self.high)
        step = self.step or (1 if self.kind == "int" else None)
        stepped: Value = min(self.low + round((inside - self.low) / step) * step, self.high) if step else inside
        return stepped

    def params(self, value: Any) -> dict[str, Any]:
        """Return the trial parameters with which `suggest` returns `value`."""
        if self.off is None:
            return {self.key: value}
        return {self.switch: False} if value == self.off else {self.switch: True, self.key: value}

    def why(self, value: Any) -> str:
        """Return the reason why `value` replaces another one, in a few words."""
        return {self.low: "lowest in the space", self.high: "highest in the space"}.get(value, "nearest step of the space")

    def describe(self) -> dict[str, Any]:
        """Return the parameter as YAML gives it; part of the space's fingerprint."""
        options = {"log": self.log or None, "step": self.step, "or": self.off, "when": _describe(self.when)}
        return {self.kind: [self.low, self.high]} | {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    key: str
    choices: tuple[Value, ...]
    when: tuple[Condition, ...] = ()

    def suggest(self, trial: Trial) -> Value:
        choice: Value = trial.suggest_categorical(self.key, list(self.choices))
        return choice

    def closest(self, value: Any) -> Value:
        """Return the choice nearest to `value`: itself, else the nearest number, else the first."""
        if value in self.choices or isinstance(value, str):
            return value if value in self.choices else self.choices[0]
        return min((choice for choice in self.choices if not isinstance(choice, str)), key=lambda choice: abs(choice - value))

    def params(self, value: Any) -> dict[str, Any]:
        """Return the trial parameters with which `suggest` returns `value`."""
        return {self.key: value}

    def why(self, value: Any) -> str:
        """Return the reason why `value` replaces another one, in a few words."""
        return "first choice of the space" if isinstance(value, str) else "nearest choice of the space"

    def describe(self) -> dict[str, Any]:
        """Return the parameter as YAML gives it; part of the space's fingerprint."""
        when = _describe(self.when)
        return {"categorical": list(self.choices)} | ({"when": when} if when else {})


def _describe(when: tuple[Condition, ...]) -> dict[str, Any] | None:
    return {condition.key: condition.describe() for condition in when} or None


Parameter = Number | Choice
