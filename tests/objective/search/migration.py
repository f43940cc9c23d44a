"""Search spaces, and studies in them, for the tests of migration."""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from model.config import Config
from objective.search.migrate import flat
from search_spaces.knobs import values
from search_spaces.space import Space
from storage.leases import owner

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OLD: dict[str, Any] = {
    "fixed": {"training.schedule": "cosine"},
    "parameters": {
        "training.learning_rate": {"float": [1e-4, 2e-3], "log": True},
        "training.batch_size": {"categorical": [16, 64]},
        "network.reduction": {"int": [1, 3]},
        "network.prenet_dropout": {"float": [0.1, 0.7], "step": 0.2},
        "loss.guided_weight": {"float": [0.05, 5.0], "log": True, "or": 0},
        "loss.guided_sigma": {"float": [0.2, 0.5], "when": {"loss.guided_weight": {"above": 0}}},
    },
}


def changed(fixed: Mapping[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    """OLD with some parameters replaced, named by the last part of their names. None: no longer searched."""
    names = {name.rpartition(".")[2]: name for name in OLD["parameters"]}
    names |= {"clip_norm": "training.clip_norm", "weight_decay": "training.weight_decay"}
    table = dict(OLD["parameters"]) | {names[name]: options for name, options in parameters.items()}
    kept = {name: options for name, options in table.items() if options is not None}
    return {"fixed": dict(OLD["fixed"] if fixed is None else fixed), "parameters": kept}


CHANGES = {
    "none": OLD,
    "wider": changed(learning_rate={"float": [1e-5, 1e-2], "log": True}, reduction={"int": [1, 5]}),
    "narrower": changed(learning_rate={"float": [3e-4, 1e-3], "log": True}),
    "another scale": changed(learning_rate={"float": [1e-4, 2e-3]}),
    "a choice less": changed(batch_size={"categorical": [8, 16]}),
    "fixed now": changed({"training.schedule": "cosine", "training.batch_size": 16}, batch_size=None),
    "no longer searched": changed(batch_size=None),
    "finer steps": changed(prenet_dropout={"float": [0.0, 0.8], "step": 0.1}),
    "other steps": changed(prenet_dropout={"float": [0.1, 0.8], "step": 0.35}),
    "never off": changed(guided_weight={"float": [0.05, 5.0], "log": True}),
    "always on a condition": changed(guided_sigma={"float": [0.2, 0.5], "when": {"network.reduction": [1, 2]}}),
    "one more, with its default": changed(clip_norm={"float": [0.5, 2.0]}),
    "one more, without its default": changed(weight_decay={"float": [1e-5, 1e-3], "log": True}),
    "another schedule": changed({}),
}
NONE_VALID, ALL_VALID = {"one more, without its default", "another schedule"}, {"none", "wider", "another scale"}
ALL_VALID |= {"finer steps", "one more, with its default"}


def space_of(table: Mapping[str, Any], base: Config | None = None) -> Space:
    return Space.from_dict(table, base)


def identity_of(space: Space, **more: Any) -> dict[str, Any]:
    return {"space": space.fingerprint(), "score": "loss", "seed": 0, **flat(space.base), **more}


def settings_of(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    return values(space.base) | space.suggest(FixedTrial(trial.params))


def inside(table: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Return whether `settings` fit the space, computed from its table alone. The migration must agree."""
    base = values(Config())
    for knob, value in settings.items():
        if knob in table["fixed"]:
            fits = value == table["fixed"][knob]
        elif knob in table["parameters"] and holds(table["parameters"][knob].get("when", {}), settings):
            fits = within(table["parameters"][knob], value)
        else:
            fits = value == base[knob]
        if not fits:
            return False
    return True


def same(one: Any, other: Any) -> bool:
    return bool(one == other if isinstance(one, str) else math.isclose(one, other, rel_tol=1e-12))


def holds(when: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(
        settings[other] > wanted["above"] if isinstance(wanted, dict) else settings[other] in wanted
        for other, wanted in when.items()
    )


def within(options: Mapping[str, Any], value: Any) -> bool:
    if "categorical" in options or value == options.get("or"):
        return "categorical" not in options or value in options["categorical"]
    low, high = options.get("float") or options["int"]
    steps = (value - low) / options["step"] if "step" in options else 0.0
    return bool(low - 1e-9 <= value <= high + 1e-9 and math.isclose(steps, round(steps), abs_tol=1e-9))


def make_study(storage: optuna.storages.BaseStorage, name: str, count: int) -> optuna.Study:
    """A study of `count` trials in the space OLD, ended in all possible ways, and one that is still running."""
    study = optuna.create_study(storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=1))
    space = space_of(OLD)
    for number in range(count):
        trial = study.ask()
        space.suggest(trial)
        attributes = {
            "k": number,
            "owner": owner(),
            "beat": 3,
            "seconds": 1.5,
            "health": {"kframes": [1.0]},
            "diagonality": 0.5,
            "free_heard": "we share",
            "ended_by": "coverage",
        }
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        trial.report(1.0 + number, 1)
        trial.report(0.5 + number, 2)
        trial.set_constraint("health/diagonality", 0.1 * (number % 3) - 0.1)
        if number % 4 == 3:
            trial.set_user_attr("pruned_by", "progress")
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 10 == 0:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 0.5 + number)
    space.suggest(study.ask())
    study.set_user_attr("identity", identity_of(space))
    return study


def load(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    return optuna.load_study(storage=storage, study_name=name)
