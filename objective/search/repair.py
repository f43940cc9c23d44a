"""Propose a repair of a sick trial: a neighbouring configuration, chosen by the diagnosis and run as a trial of its own.

A trial is sick if a health rule stopped it or if it finished but misses a target. A running trial is never changed, and one
change is tried at a time, so that a study can tell which one helped.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FixedTrial, FrozenTrial

from model.config import Loss, Training
from pruners.rules import SHIPPED_RULES, Cause
from search_spaces.knobs import values
from search_spaces.parameters import Value
from search_spaces.space import Space
from storage.lineage import parameters_of
from storage.outcome import is_finished

LEAST = 0.05  # relative change of a knob below which a trial would show nothing
DROPOUT = 0.5  # the highest published value
TARGETS = ("diagonality", "reading", "understood", "free_failures")  # causes before effects

Point = Mapping[str, Any]
Moves = Iterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Repair:
    """The parameters of a neighbour to enqueue, and its changes such as "training.learning_rate 0.0031 -> 0.00155"."""

    params: dict[str, Any]
    changes: tuple[str, ...]


def neighbour(rule: str, settings: Mapping[str, Value], space: Space) -> Repair | None:
    """Return the configuration to try instead of `settings`, inside the bounds of `space`.

    rule: the health rule that stopped the trial, the target that it misses, or the fault of its sentences. settings: the
    trial's values by dotted name.
    None where no knob helps (behind its peers, out of memory), or where every knob that would is at its bound or not searched.
    """
    start = values(space.base) | space.fixed
    old = start | dict(settings)
    moves = remedy(rule).moves
    for move in moves(old) if moves else ():
        params, _ = space.to_trial_params(old | move)
        new = start | space.suggest(FixedTrial(params))
        if any(_differ(old[knob], new[knob], LEAST) for knob in move):
            changed = [knob for knob in new if _differ(old[knob], new[knob], 1e-9)]
            return Repair(params, tuple(f"{knob} {_format(old[knob])} -> {_format(new[knob])}" for knob in changed))
    return None


def next_repair(trials: Sequence[FrozenTrial], space: Space, max_depth: int) -> tuple[FrozenTrial, Repair] | None:
    """Return the sick trial that is repaired next in a study of `trials`, and its repair; None where there is none.

    Trials that are no repairs themselves come first, then in the order of their ordinal k, so that an interrupted study
    continues like an undisturbed one. Each trial is repaired once, no configuration is tried twice, and repairs are repaired in
    turn up to `max_depth`.
    """
    repaired = {trial.user_attrs.get("repair_of") for trial in trials}
    tried = [parameters_of(trial) for trial in trials]
    candidates = [trial for trial in trials if is_finished(trial) and "k" in trial.user_attrs and trial.params]
    parents = [trial for trial in candidates if depth(trial) < max_depth and trial.number not in repaired]
    for parent in sorted(parents, key=lambda trial: (depth(trial), trial.user_attrs["k"])):
        for rule in diagnoses(parent):
            repair = neighbour(rule, space.suggest(FixedTrial(parent.params)), space)
            if repair is not None and not any(_same(repair.params, other) for other in tried):
                return parent, repair
    return None


def diagnoses(trial: FrozenTrial) -> tuple[str, ...]:
    """Return what is wrong with a finished trial: the rule that stopped it, or the missed targets, causes before effects.

    In place of the target for faults stands the fault that most sentences have (model/spoken.py).
    """
    if "pruned_by" in trial.user_attrs:
        return (trial.user_attrs["pruned_by"],)
    faults: dict[str, int] = trial.user_attrs.get("free_faults", {})
    most = max(faults, key=lambda kind: faults[kind], default="free_failures")
    missed = (name for name in TARGETS if trial.constraints.get(f"health/{name}", 0.0) > 0)
    return tuple(dict.fromkeys(most if name == "free_failures" else name for name in missed))


def depth(trial: FrozenTrial) -> int:
    """Return how many repairs led to this trial."""
    return int(trial.user_attrs.get("repair_depth", 0))


def _exploded(now: Point) -> Moves:
    rate, clip = now["training.learning_rate"], now["training.clip_norm"]
    yield {"training.learning_rate": rate / 2, "training.clip_norm": min(clip, 1.0)}


def _unaligned(now: Point) -> Moves:
    weight = now["loss.guided_weight"]
    yield {"loss.guided_weight": max(2 * weight, Loss().guided_weight)}  # published ones are a hundredth of it
    yield {"network.reduction": now["network.reduction"] + 1}
    yield {"network.prenet_dropout": _more_dropout(now["network.prenet_dropout"])}


def _not_understood(now: Point) -> Moves:
    yield {"network.drop_frame_rate": min(1.0, now["network.drop_frame_rate"] + 0.2)}
    yield from _unaligned(now)


def _never_stops(now: Point) -> Moves:
    yield {"loss.gate_positive_weight": 2 * now["loss.gate_positive_weight"]}


def _stops_too_early(now: Point) -> Moves:
    yield {"loss.gate_positive_weight": now["loss.gate_positive_weight"] / 2}


def _overfitted(now: Point) -> Moves:
    dropouts = {knob: _more_dropout(share) for knob, share in now.items() if knob.endswith("_dropout")}
    yield {**dropouts, "training.weight_decay": 10 * now["training.weight_decay"]}


def _too_slow(now: Point) -> Moves:
    yield {"training.learning_rate": 2 * now["training.learning_rate"]}
    yield {"training.warmup_share": max(2 * now["training.warmup_share"], Training().warmup_share)}


@dataclass(frozen=True, slots=True)
class Remedy:
    """The treatment of one diagnosis, for a person and for the search."""

    advice: str  # key of what a person is advised to do; its texts: objective/telegram/english.py, russian.py
    moves: Callable[[Point], Moves] | None = None  # changes to try, in this order; None where no setting cures it


REMEDY_OF_CAUSE: dict[Cause, Remedy] = {
    "exploded": Remedy("exploded", _exploded),
    "unaligned": Remedy("unaligned", _unaligned),
    "mumbles": Remedy("not_understood", _not_understood),
    "never_stops": Remedy("never_stops", _never_stops),
    "overfitted": Remedy("overfitted", _overfitted),
    "too_slow": Remedy("too_slow", _too_slow),
}
REMEDIES: dict[str, Remedy] = {  # by the name of a rule, of a missed target, or of a fault
    **{name: REMEDY_OF_CAUSE[rule.cause] for name, rule in SHIPPED_RULES.items()},
    **dict.fromkeys(("understood", "mumbled"), REMEDY_OF_CAUSE["mumbles"]),
    **dict.fromkeys(("stuck", "repeated", "skipped"), REMEDY_OF_CAUSE["unaligned"]),
    **dict.fromkeys(("endless", "late"), REMEDY_OF_CAUSE["never_stops"]),
    "cut": Remedy("stops_too_early", _stops_too_early),
    "out_of_memory": Remedy("out_of_memory"),
    "peers": Remedy("peers"),
}
UNKNOWN = Remedy("unknown")


def remedy(rule: str) -> Remedy:
    """Return the remedy of a rule, a missed target or a fault; a rule without an entry gets general advice and no repair."""
    return REMEDIES.get(rule, UNKNOWN)


def _more_dropout(share: float) -> float:
    return max(share, min(share + 0.1, DROPOUT))


def _differ(old: Value, new: Value, least: float) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return old != new
    return not math.isclose(old, new, rel_tol=least)


def _same(one: Point, other: Point) -> bool:
    return one.keys() == other.keys() and not any(_differ(one[name], other[name], 1e-9) for name in one)


def _format(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
