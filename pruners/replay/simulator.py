"""Replay recorded curves as a study: each whole curve is reported to a pruner through the objects that a live study uses.

These are an in-memory study of Optuna's with its ask and tell, reports, health records and constraints: what stops a trial here
stops it in a live study, for the same reason.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from pruners.base import ExplainedPruner
from pruners.replay.archive import Curve
from storage.optuna_private import stored


@dataclass(frozen=True, slots=True)
class ReplayedTrial:
    """The outcome of one recorded trial."""

    kframes: float  # spent
    pruned_by: str | None = None  # a rule, "peers", or the class of a pruner that gives no reason
    value: float | None = None  # if nothing stopped it


def replay(curves: Sequence[Curve], pruner: optuna.pruners.BasePruner) -> list[ReplayedTrial]:
    """Return the outcomes of the curves in a study that runs them in this order with a copy of `pruner`."""
    with _quiet():
        study = optuna.create_study(
            study_name="replay",  # Hyperband draws a trial's bracket from it
            sampler=optuna.samplers.RandomSampler(0),  # never used: the trials have no parameters
            pruner=copy.deepcopy(pruner),
        )
        return [_trial(study, curve) for curve in curves]


def _trial(study: optuna.Study, curve: Curve) -> ReplayedTrial:
    """Run one trial from ask to tell, as objective/trial/run.py and objective/search/worker.py do it for TPE."""
    trial = study.ask()
    rule, severity, kframes = None, 1.0, 0.0
    for record, loss in zip(curve.prefixes, curve.val_losses, strict=True):
        kframes = record["kframes"][-1]
        trial.set_user_attr("health", record)
        if loss is None:  # with any pruner: no training can continue from here
            rule = "nonfinite"
            break
        trial.report(loss, round(kframes))
        if trial.should_prune():
            attributes = stored(trial).user_attrs
            rule = attributes.get("pruned_by", type(study.pruner).__name__)
            severity = attributes.get("pruned_severity", severity)
            break
    trial.set_user_attr("kframes", kframes)
    if rule is None:
        for name, amount in curve.violations.items():
            trial.set_constraint(f"health/{name}", amount)
        study.tell(trial, curve.value)
        return ReplayedTrial(kframes, value=curve.value)
    trial.set_user_attr("pruned_by", rule)
    if rule == "nonfinite" or (isinstance(study.pruner, ExplainedPruner) and rule != "peers"):
        trial.set_constraint(f"health/{rule}", max(severity, 1e-6))
    study.tell(trial, state=TrialState.PRUNED)
    return ReplayedTrial(kframes, rule)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the line for each study and each disarmed rule: a replay makes thousands."""
    verbosity, ours = optuna.logging.get_verbosity(), logging.getLogger("pruners")
    level = ours.level
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
        ours.setLevel(level)
