"""Validate the table of a YAML space and return its parameters, with every mistake of the table as a sentence."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from model.errors import BadInput
from search_spaces.knobs import KNOBS, NEVER, typed
from search_spaces.parameters import Choice, Condition, Number, Parameter, Value
from search_spaces.yaml_reader import nearest, way_out

TOP = ("name", "about", "fixed", "parameters")
OPTIONS = {
    "float": ("float", "log", "step", "or", "when"),
    "int": ("int", "log", "step", "or", "when"),
    "categorical": ("categorical", "when"),
}
_KIND_OF = {float: "float", int: "int"}


class SpaceError(BadInput):
    """All mistakes of a space, one per line."""

    def __init__(self, where: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(f"{where}: {mistake}" for mistake in mistakes))


def read_table(table: Any, mistakes: list[str]) -> tuple[dict[str, Value], tuple[Parameter, ...]]:
    """Return the valid fixed settings and parameters; for the others a sentence is added to `mistakes`."""
    if not isinstance(table, Mapping):
        mistakes.append(f"need a mapping with {', '.join(TOP)}, got {table!r}")
        return {}, ()
    mistakes += [f"{option}: unknown: {way_out(str(option), TOP)}" for option in table if option not in TOP]
    fixed_table, parameter_table = (_mapping(table, name, mistakes) for name in ("fixed", "parameters"))
    if table.get("parameters") is None:
        mistakes.append("parameters: need the searched knobs, got none: write `parameters: {}` to search nothing")

    fixed = {}
    for key, value in fixed_table.items():
        if _searchable(key, mistakes, "fixed: "):
            try:
                fixed[key] = typed(key, value)
            except TypeError as error:
                mistakes.append(f"fixed: {key}: {error}")

    parameters: dict[str, Parameter] = {}
    for key, options in parameter_table.items():
        if not _searchable(key, mistakes):
            continue
        if key in fixed_table:
            mistakes.append(f"{key}: both searched and fixed to {fixed_table[key]!r}: keep one")
        parameter = _parameter(key, options, parameters, list(parameter_table), mistakes)
        if parameter:
            parameters[key] = parameter
    return fixed, tuple(parameters.values())


def _mapping(table: Mapping[Any, Any], name: str, mistakes: list[str]) -> Mapping[Any, Any]:
    inside = table.get(name) or {}
    if not isinstance(inside, Mapping):
        mistakes.append(f"{name}: need a mapping from dotted names, got {inside!r}")
        return {}
    return inside


def _searchable(key: Any, mistakes: list[str], where: str = "") -> bool:
    if key in KNOBS:
        return True
    if key in NEVER:
        mistakes.append(f"{where}{key}: changes how a voice is computed, not the voice: put it in the settings")
    else:
        groups = ", ".join(dict.fromkeys(f"{knob.split('.')[0]}.*" for knob in KNOBS))
        close = nearest(str(key), KNOBS)
        hint = f"did you mean {close}?" if close else "a budget, a seed or anything outside of them belongs in the settings"
        mistakes.append(f"{where}{key}: need a knob of {groups}: {hint}")
    return False


def _parameter(
    key: str, options: Any, earlier: Mapping[str, Parameter], order: list[str], mistakes: list[str]
) -> Parameter | None:
    kinds = [kind for kind in OPTIONS if isinstance(options, Mapping) and kind in options]
    if len(kinds) != 1:
        mistakes.append(f"{key}: need exactly one of {', '.join(OPTIONS)}, got {options!r}")
        return None
    kind = kinds[0]
    allowed = OPTIONS[kind]
    before = len(mistakes)
    mistakes += [f"{key}: unknown option {name}: {way_out(str(name), allowed)}" for name in options if name not in allowed]
    when = _conditions(key, options.get("when"), earlier, order, mistakes)
    parameter = (_choice if kind == "categorical" else _number)(key, kind, options, when, mistakes)
    return parameter if len(mistakes) == before else None


def _choice(key: str, kind: str, options: Mapping[str, Any], when: tuple[Condition, ...], mistakes: list[str]) -> Choice | None:
    listed = options[kind]
    if not isinstance(listed, list) or len(listed) < 2:
        mistakes.append(f"{key}: need a list of two choices or more, got {listed!r}: put a single value under fixed:")
        return None
    choices = []
    for value in listed:
        try:
            choices.append(typed(key, value))
        except TypeError as error:
            mistakes.append(f"{key}: {error} among the choices")
    if len(set(choices)) < len(choices):
        mistakes.append(f"{key}: need different choices, got {listed}")
    return Choice(key, tuple(choices), when)


def _number(key: str, kind: str, options: Mapping[str, Any], when: tuple[Condition, ...], mistakes: list[str]) -> Number | None:
    fits = _KIND_OF.get(KNOBS[key], "categorical")
    if kind != fits:
        mistakes.append(f"{key}: need {fits}, got {kind}: the knob is {KNOBS[key].__name__}")
        return None
    bounds, log = options[kind], options.get("log", False)
    numbers = {"step": options.get("step"), "or": options.get("or")}
    try:
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise TypeError(f"need {kind}: [lowest, highest], got {bounds!r}")
        low, high = (typed(key, bound) for bound in bounds)
        step, off = (typed(key, value) if name in options else None for name, value in numbers.items())
    except TypeError as error:
        mistakes.append(f"{key}: {error}")
        return None
    divides = not step or (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0  # exactly, as Optuna requires
    repair = "swap them" if low > high else "put a single value under fixed:"
    rules = (
        (low < high, f"need lowest < highest, got {bounds}: {repair}"),
        (isinstance(log, bool), f"need log: true or false, got {log!r}"),
        (log is not True or low > 0, f"log needs lowest > 0, got {low}: raise it, and add `or: 0` where 0 means off"),
        (log is not True or step is None, f"log and step exclude each other, got step {step}: keep one"),
        (step is None or step > 0, f"need step > 0, got {step}"),
        (divides, f"need whole steps between bounds, got {bounds} with step {step}"),
        (off is None or not low <= off <= high, f"need `or` outside of the bounds, got {off} in {bounds}: leave it out"),
    )
    mistakes += [f"{key}: {rule}" for holds, rule in rules if not holds]
    return Number(key, "int" if kind == "int" else "float", low, high, log is True, step, off, when)


def _conditions(
    key: str, when: Any, earlier: Mapping[str, Parameter], order: list[str], mistakes: list[str]
) -> tuple[Condition, ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping):
        mistakes.append(f"{key}: need when: {{earlier.parameter: value, list of values or {{above: number}}}}, got {when!r}")
        return ()
    conditions = []
    for other, wanted in when.items():
        if other in earlier:
            conditions.append(_condition(key, earlier[other], wanted, mistakes))
        elif other not in order:
            mistakes.append(f"{key}: when {other}: need a parameter of this space: {way_out(str(other), order)}")
        elif order.index(other) >= order.index(key):
            mistakes.append(f"{key}: when {other}: need an earlier parameter: move {other} before {key}")
    return tuple(condition for condition in conditions if condition)


def _condition(key: str, other: Parameter, wanted: Any, mistakes: list[str]) -> Condition | None:
    where = f"{key}: when {other.key}"
    try:
        if not isinstance(wanted, Mapping):
            values = [typed(other.key, value) for value in (wanted if isinstance(wanted, list) else [wanted])]
            if not values or any(other.closest(value) != value for value in values):
                mistakes.append(f"{where}: need values that it can take, got {wanted!r}, and it is {other.describe()}")
            return Condition(other.key, tuple(values))
        if list(wanted) != ["above"] or KNOBS[other.key] is str:
            raise TypeError(f"need a value, a list of values or, for a number, {{above: number}}, got {dict(wanted)}")
        return Condition(other.key, above=typed(other.key, wanted["above"]))
    except TypeError as error:
        mistakes.append(f"{where}: {error}")
        return None
