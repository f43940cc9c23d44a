"""The outcome of a trial: healthy, sick, pruned or failed; its value, the reason, and which trial is the best.

healthy: it ran to its end and meets every target. sick: it ran to its end and misses one (a constraint `health/NAME` > 0).
pruned: a rule or its peers stopped it. failed: a machine or a person ended it. No sick trial is ever the best.
Loads without Optuna, so that readers of the log share the one rule.
"""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from storage.paths import trial_folder

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

HEALTHY_AT = "healthy_at"  # attribute of a trial that holds a healthy snapshot: the kframes of that snapshot
ENDED_OUTSIDE = "ended from outside while it ran"  # the reason of a trial that a person stopped
_STATES = ("COMPLETE", "PRUNED")  # of a trial with a result


class Outcome(StrEnum):
    """The outcome of an ended trial, as it is shown."""

    HEALTHY = "healthy"
    SICK = "sick"
    PRUNED = "pruned"
    FAILED = "failed"


def outcome_of(state: str, violations: Iterable[float | None]) -> Outcome:
    """The outcome of a trial that ended as COMPLETE, PRUNED or FAIL.

    violations: by how much each target is missed, at most 0 where it is met, None where that is not finite.
    """
    if state == "COMPLETE":
        met = all(amount is not None and amount <= 0 for amount in violations)
        return Outcome.HEALTHY if met else Outcome.SICK
    return Outcome.PRUNED if state == "PRUNED" else Outcome.FAILED


def is_finished(trial: "FrozenTrial") -> bool:
    """Return whether a trial has a result and counts for --trials."""
    return trial.state.name in _STATES


def finished(study: "optuna.Study") -> list["FrozenTrial"]:
    """The study's trials with a result, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_finished(trial)]


def pruned(trial: "FrozenTrial") -> bool:
    """Return whether a rule, its peers or its memory stopped a trial, which Optuna's own state does not show: see `state`."""
    return "pruned_by" in trial.user_attrs


def state(trial: "FrozenTrial") -> str:
    """COMPLETE, PRUNED, FAIL, RUNNING or WAITING. With GPSampler, Optuna's own state of a pruned trial is COMPLETE."""
    return "PRUNED" if pruned(trial) else trial.state.name


def outcome(trial: "FrozenTrial") -> Outcome:
    """The outcome of a trial that has ended."""
    return outcome_of(state(trial), trial.constraints.values())


def healthy(trial: "FrozenTrial") -> bool:
    return outcome(trial) is Outcome.HEALTHY


def not_known_sick(trial: "FrozenTrial") -> bool:
    """Return whether a trial, possibly running, may serve as a peer: no health rule stopped it, and it misses no target.

    A trial that its peers stopped was behind them, not sick.
    """
    if trial.user_attrs.get("pruned_by", "peers") != "peers" or trial.state.name == "FAIL":
        return False
    return all(amount <= 0 for name, amount in trial.constraints.items() if name != "health/peers")


def value(trial: "FrozenTrial") -> float:
    """The trial's value, smaller is better; infinity where it has none."""
    return float("inf") if trial.value is None else trial.value


def best_of(trials: Iterable["FrozenTrial"]) -> "FrozenTrial | None":
    """The healthy trial with the smallest value; None while there is none."""
    return min(filter(healthy, trials), key=value, default=None)


def best_trial(study: "optuna.Study") -> "FrozenTrial | None":
    """The healthy trial of the study with the smallest value; None while there is none."""
    return best_of(finished(study))


def reason(trial: "FrozenTrial") -> str | None:
    """Return why a trial was stopped, or which targets it misses, as a sentence; None for a healthy one that ran to its end."""
    known = trial.user_attrs
    return known.get("pruned_reason") or known.get("ended_reason") or known.get("sick_reason")


def failure_reason(trial: "FrozenTrial") -> str | None:
    """Return the reason why a trial ended without a result, as a sentence; None for all others."""
    if trial.state.name != "FAIL":
        return None
    known = trial.user_attrs
    return known.get("given_up") or known.get("released") or known.get("dropped") or ENDED_OUTSIDE


STOPPED, RUNNING, LAST = 3, 4, 5  # the first part of the `order`: stopped by a health rule, still running, failed


def order(
    outcome: Outcome, value: float | None, violations: Iterable[float | None], pruned_by: str | None, severity: float
) -> tuple[int, float, float]:
    """Return the key that sorts trials everywhere, the best first.

    Healthy ones by value, sick ones by how far they miss their targets and then by value, those behind their peers by value,
    those that a health rule stopped by how far past its level they were, and at last the failed ones.
    """
    amount = float("inf") if value is None else value
    if outcome is Outcome.HEALTHY:
        return 0, amount, 0.0
    if outcome is Outcome.SICK:
        return 1, sum(float("inf") if missed is None else max(0.0, missed) for missed in violations), amount
    if outcome is Outcome.FAILED:
        return LAST, 0.0, 0.0
    return (2, amount, 0.0) if pruned_by in (None, "peers") else (STOPPED, severity, 0.0)


def rank(trial: "FrozenTrial") -> tuple[int, float, float]:
    """Return the `order` of a trial that has ended."""
    known = trial.user_attrs
    severity = known.get("pruned_severity", 1.0)
    return order(outcome(trial), trial.value, trial.constraints.values(), known.get("pruned_by"), severity)


def folder_of(trial: "FrozenTrial", study: Path) -> Path:
    """The folder with the trial's files, given that of its study. Files of a migrated trial lie in the older study's folder."""
    older, _, number = trial.user_attrs.get("migrated_from", "").rpartition(" trial ")
    return trial_folder(study.parent / older, int(number)) if older else trial_folder(study, trial.number)
