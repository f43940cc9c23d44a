"""The hyperparameters of `model.config` by dotted name ("knobs"): which can be searched, reading and setting their values."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from model.config import SEARCHABLE, Config

_TYPE_NAMES = {float: "a number", int: "a whole number", str: "a word"}

# They change how fast, how exactly or in which units the same voice is computed, so the score must not choose them.
NEVER = ("network.recurrence", "network.standardise", "training.precision")

KNOBS: dict[str, type] = {
    key: cast(type, knob.type)
    for group in fields(Config)
    if group.name in SEARCHABLE
    for knob in fields(cast(Any, group.type))
    if (key := f"{group.name}.{knob.name}") not in NEVER
}


def values(config: Config) -> dict[str, Any]:
    """Return the value of every knob in `config`."""
    return {key: getattr(getattr(config, group), name) for key in KNOBS for group, name in [key.split(".")]}


def apply(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return `config` with the knobs set to `settings`. Raises ValueError with the errors of all its groups."""
    changes: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        group, name = key.split(".")
        changes.setdefault(group, {})[name] = value
    groups, errors = {}, []
    for group, changed in changes.items():
        try:
            groups[group] = replace(getattr(config, group), **changed)
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return replace(config, **groups)


def typed(key: str, value: Any) -> Any:
    """Return `value` as the type of the knob; a whole number is accepted as a float. Raises TypeError for another type."""
    expected = KNOBS[key]
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected or value in (float("inf"), float("-inf")) or value != value:
        raise TypeError(f"need {_TYPE_NAMES[expected]}, got {value!r}")
    return value
