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
from pruners.replay.archive import Curve, Snapshot
from storage.optuna_private import stored
from storage.outcome import HEALTHY_AT


@dataclass(frozen=True, slots=True)
class ReplayedTrial:
    """The outcome of one recorded trial: it ran to its end, or was pruned, or was ended with its healthy snapshot."""

    kframes: float  # spent
    pruned_by: str | None = None  # a rule, "peers", or the class of a pruner that gives no reason
    ended_by: str | None = None  # the same of a trial that held a healthy snapshot
    kept: Snapshot | None = None  # whose value the trial has; None for a pruned one

    @property
    def value(self) -> float | None:
        return None if self.kept is None else self.kept.value


def replay(curves: Sequence[Curve], pruner: optuna.pruners.BasePruner) -> list[ReplayedTrial]:
    """Return the outcomes of the curves in a study that runs them in this order with a copy of `pruner`."""
    with _quiet():
        study = optuna.create_study(
            study_name="replay",  # Hyperband draws a trial's bracket from it
            sampler=optuna.samplers.RandomSampler(0),  # never used: the trials have no parameters
            pruner=copy.deepcopy(pruner),
        )
        return [_trial(study, curve) for curve in curves]


def unstopped(curve: Curve) -> ReplayedTrial:
    """Return the outcome of a trial that no pruner stops."""
    if curve.val_losses[curve.last] is not None and curve.kept is not None:
        return ReplayedTrial(curve.full_kframes, kept=curve.kept)
    if (held := curve.held[curve.last]) is not None:
        return ReplayedTrial(curve.full_kframes, ended_by="nonfinite", kept=held)
    return ReplayedTrial(curve.full_kframes, pruned_by="nonfinite")


def _trial(study: optuna.Study, curve: Curve) -> ReplayedTrial:
    """Run one trial from ask to tell, as objective/trial/run.py and objective/search/worker.py do it for TPE."""
    trial = study.ask()
    place = next((place for place in range(curve.last + 1) if _stops(trial, curve, place)), None)
    known = stored(trial).user_attrs
    if place is None:
        outcome = unstopped(curve)
    elif "ended_by" in known:
        outcome = ReplayedTrial(_kframes(curve, place), ended_by=known["ended_by"], kept=curve.held[place])
    else:  # pruners of Optuna know no snapshots
        outcome = ReplayedTrial(_kframes(curve, place), pruned_by=known.get("pruned_by", type(study.pruner).__name__))
    _tell(study, trial, outcome, known.get("pruned_severity", 1.0))
    return outcome


def _stops(trial: optuna.Trial, curve: Curve, place: int) -> bool:
    """Report what a trial knows at one of a curve's reports; return whether the pruner stops it there."""
    value, held = curve.values[place], curve.held[place]
    trial.set_user_attr("health", curve.prefixes[place])
    if value is not None:
        trial.report(value, round(_kframes(curve, place)))
    if held is not None:
        trial.set_user_attr(HEALTHY_AT, held.kframes)
    return curve.val_losses[place] is not None and trial.should_prune()  # else it ends here with any pruner


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: ReplayedTrial, severity: float) -> None:
    """Store an outcome in the study: the trial's attributes, its constraints, its state."""
    trial.set_user_attr("kframes", outcome.kframes)
    if outcome.kept is not None:
        for name, amount in outcome.kept.violations.items():
            trial.set_constraint(f"health/{name}", amount)
        study.tell(trial, outcome.kept.value)
        return
    rule = outcome.pruned_by
    trial.set_user_attr("pruned_by", rule)
    if rule == "nonfinite" or (isinstance(study.pruner, ExplainedPruner) and rule != "peers"):
        trial.set_constraint(f"health/{rule}", max(severity, 1e-6))
    study.tell(trial, state=TrialState.PRUNED)


def _kframes(curve: Curve, place: int) -> float:
    return float(curve.prefixes[place]["kframes"][-1])


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
