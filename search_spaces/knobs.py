"""The knobs of `model.config` by dotted path: which can be searched, what they are in a configuration, and turning them."""

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
    """The value of every knob in `config`."""
    return {key: getattr(getattr(config, group), name) for key in KNOBS for group, name in [key.split(".")]}


def apply(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with the knobs of `settings` turned. ValueError with what every group of the configuration refuses."""
    changes: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        group, name = key.split(".")
        changes.setdefault(group, {})[name] = value
    groups, refused = {}, []
    for group, changed in changes.items():
        try:
            groups[group] = replace(getattr(config, group), **changed)
        except ValueError as error:
            refused.append(str(error))
    if refused:
        raise ValueError("; ".join(refused))
    return replace(config, **groups)


def typed(key: str, value: Any) -> Any:
    """`value` as the type of the knob: a whole number may stand for a float. TypeError where it is another type."""
    wanted = KNOBS[key]
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted or value in (float("inf"), float("-inf")) or value != value:
        raise TypeError(f"need {_TYPE_NAMES[wanted]}, got {value!r}")
    return value
