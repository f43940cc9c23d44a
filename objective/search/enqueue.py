"""Enqueue the configurations that are tried before the sampler proposes any: retries, then recipes, then repairs.

This is decided before each trial, from the trials of the study alone, and one configuration at a time. So an interrupted study
continues with the same configurations in the same order. Two workers may enqueue the same one at the same moment: see
`is_duplicate` in storage/lineage.py.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.search.repair import depth, next_repair
from search_spaces.recipes import load_recipes
from search_spaces.space import Space
from storage.lineage import enqueue_retries, ordinal, parameters_of
from storage.outcome import reason


def enqueue_next(
    study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, recipes: Sequence[str], max_repairs: int
) -> bool:
    """Enqueue the next configuration after `trials`, if any; one configuration may have up to `max_repairs` repairs.

    Returns whether an enqueued configuration waits, so that the sampler is not to be asked.
    """
    if enqueue_retries(study, trials) or any(trial.state == TrialState.WAITING for trial in trials):
        return True
    return _enqueue_recipe(study, trials, space, recipes) or _enqueue_repair(study, trials, space, max_repairs)


def _enqueue_recipe(study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, recipes: Sequence[str]) -> bool:
    """Enqueue the first recipe that no trial has tried, neither by name nor by its parameters; return whether there is one."""
    origins = {trial.user_attrs.get("origin") for trial in trials}
    tried = [parameters_of(trial) for trial in trials]
    for name in recipes:
        params, changes = space.to_trial_params(load_recipes()[name])
        if f"recipe {name}" not in origins and params not in tried:
            attributes = {"k": ordinal(trials, len(trials)), "origin": f"recipe {name}", "changes": changes}
            study.enqueue_trial(params, user_attrs=attributes)
            return True
    return False


def _enqueue_repair(study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, max_repairs: int) -> bool:
    """Enqueue the next repair; return whether there is one."""
    due = next_repair(trials, space, max_repairs)
    if due is not None:
        parent, repair = due
        lineage = {
            "origin": f"repair of trial {parent.number}",
            "k": parent.user_attrs["k"],  # the same seed, so that only the named changes differ
            "repair_of": parent.number,
            "repair_depth": depth(parent) + 1,
            "repair_why": reason(parent),
            "changes": list(repair.changes),
        }
        study.enqueue_trial(repair.params, user_attrs=lineage)
    return due is not None
