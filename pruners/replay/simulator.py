"""A study over recorded curves: whole curves are fed to a pruner through the objects that a live study uses.

That is an in-memory study of Optuna's that is asked and told, reports, health records and constraints: what stops a trial here
stops it there, for the same reason.
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
class Outcome:
    """What became of one recorded trial."""

    kframes: float  # spent
    pruned_by: str | None = None  # a rule, "peers", or the name of a pruner that does not say why
    value: float | None = None  # if nobody stopped it


def replay(curves: Sequence[Curve], pruner: optuna.pruners.BasePruner) -> list[Outcome]:
    """The outcomes of the curves as one study that tries them in this order and has `pruner`, of which it uses a copy."""
    with _quiet():
        study = optuna.create_study(
            study_name="replay",  # Hyperband draws a trial's bracket from it
            sampler=optuna.samplers.RandomSampler(0),  # never asked for a point
            pruner=copy.deepcopy(pruner),
        )
        return [_trial(study, curve) for curve in curves]


def _trial(study: optuna.Study, curve: Curve) -> Outcome:
    """One trial from ask to tell, as objective/trial/run.py and objective/search/worker.py do it for TPE."""
    trial = study.ask()
    rule, severity, kframes = None, 1.0, 0.0
    for record, loss in zip(curve.prefixes, curve.val_losses, strict=True):
        kframes = record["kframes"][-1]
        trial.set_user_attr("health", record)
        if loss is None:  # whoever prunes, there is nothing to go on with
            rule = "nonfinite"
            break
        trial.report(loss, round(kframes))
        if trial.should_prune():
            said = stored(trial).user_attrs
            rule = said.get("pruned_by", type(study.pruner).__name__)
            severity = said.get("pruned_severity", severity)
            break
    trial.set_user_attr("kframes", kframes)
    if rule is None:
        for name, amount in curve.violations.items():
            trial.set_constraint(f"health/{name}", amount)
        study.tell(trial, curve.value)
        return Outcome(kframes, value=curve.value)
    trial.set_user_attr("pruned_by", rule)
    if rule == "nonfinite" or (isinstance(study.pruner, ExplainedPruner) and rule != "peers"):
        trial.set_constraint(f"health/{rule}", max(severity, 1e-6))
    study.tell(trial, state=TrialState.PRUNED)
    return Outcome(kframes, rule)


@contextmanager
def _quiet() -> Iterator[None]:
    """No line for each study made and each rule disarmed: a replay makes thousands."""
    loud, ours = optuna.logging.get_verbosity(), logging.getLogger("pruners")
    level = ours.level
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(loud)
        ours.setLevel(level)
