"""What is tried before the sampler is asked: points that come again, then the recipes, then repairs.

It is decided when the next point is asked for, from what the study holds, and one thing at a time: so a study that stopped in
between owes the same, and what it owes comes first. Two workers may enqueue one thing at the same moment: see `doubled`.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.search.repair import depth, owed
from search_spaces.recipes import load_recipes
from search_spaces.space import Space
from storage.lineage import enqueue_owed, ordinal, point
from storage.outcome import reason


def fill(study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, recipes: Sequence[str], deepest: int) -> None:
    """Enqueue what is due after `trials`, if anything; `deepest` is how many repairs one point may have."""
    if enqueue_owed(study, trials) or any(trial.state == TrialState.WAITING for trial in trials):
        return
    if not _recipe(study, trials, space, recipes):
        _repair(study, trials, space, deepest)


def _recipe(study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, recipes: Sequence[str]) -> bool:
    """The first recipe that no trial is, nor has the point of."""
    known = {trial.user_attrs.get("origin") for trial in trials}
    points = [point(trial) for trial in trials]
    for name in recipes:
        params, changes = space.to_trial_params(load_recipes()[name])
        if f"recipe {name}" not in known and params not in points:
            attributes = {"k": ordinal(trials, len(trials)), "origin": f"recipe {name}", "changes": changes}
            study.enqueue_trial(params, user_attrs=attributes)
            return True
    return False


def _repair(study: optuna.Study, trials: Sequence[FrozenTrial], space: Space, deepest: int) -> None:
    due = owed(trials, space, deepest)
    if due is not None:
        parent, repair = due
        lineage = {
            "origin": f"repair of trial {parent.number}",
            "k": parent.user_attrs["k"],  # the same seed: only what is named differs
            "repair_of": parent.number,
            "repair_depth": depth(parent) + 1,
            "repair_why": reason(parent),
            "changes": list(repair.changes),
        }
        study.enqueue_trial(repair.params, user_attrs=lineage)
