"""One definition of a trial's outcome: which one is healthy, which is best, and in which order trials stand."""

import optuna
from optuna.trial import FrozenTrial, TrialState

from storage.outcome import Outcome, best_of, healthy, outcome, rank, state


def trial(
    value: float | None, missed: float = -0.1, ended: TrialState = TrialState.COMPLETE, **attributes: object
) -> FrozenTrial:
    made = optuna.trial.create_trial(state=ended, value=value, user_attrs=attributes)
    made.system_attrs["constraints:health/diagonality"] = missed
    return made


def test_a_trial_that_misses_a_target_is_sick_and_never_the_best() -> None:
    sick, worse = trial(0.1, missed=0.2), trial(0.9)
    assert (outcome(sick), healthy(sick), outcome(worse)) == (Outcome.SICK, False, Outcome.HEALTHY)
    assert best_of([sick, worse]) is worse
    assert best_of([sick]) is None


def test_a_pruned_trial_that_the_sampler_was_given_as_complete_is_pruned() -> None:
    """GPSampler ignores PRUNED trials, so they are stored as COMPLETE with the name of their rule."""
    stored = trial(0.1, pruned_by="diagonality")
    assert (state(stored), outcome(stored)) == ("PRUNED", Outcome.PRUNED)


def test_trials_stand_healthy_by_value_then_sick_by_miss_and_value_then_pruned_then_failed() -> None:
    trials = [
        trial(0.5),
        trial(0.6),
        trial(0.7, missed=0.1),
        trial(0.5, missed=0.2),
        trial(0.9, missed=0.2),
        trial(0.4, ended=TrialState.COMPLETE, pruned_by="peers"),
        trial(None, ended=TrialState.PRUNED, pruned_by="diagonality", pruned_severity=0.5),
        trial(None, ended=TrialState.PRUNED, pruned_by="diagonality", pruned_severity=2.0),
        trial(None, ended=TrialState.FAIL),
    ]
    backwards = trials[::-1]
    backwards.sort(key=rank)
    assert backwards == trials
