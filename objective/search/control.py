"""Control a running study through its storage: pause and resume it, stop one of its trials.

Workers check for a pause between two trials, and for a stop at every report.
"""

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

PAUSED = "paused"  # attribute of a study


def paused(study: optuna.Study) -> bool:
    return bool(study.user_attrs.get(PAUSED, False))


def pause(study: optuna.Study, on: bool) -> None:
    study.set_user_attr(PAUSED, on)


def stop(study: optuna.Study, number: int) -> bool:
    """End a running trial; False where no running trial has that number."""
    running = {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    if number not in running:
        return False
    try:
        study._storage.set_trial_state_values(running[number]._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:  # it ended at this moment
        return False
    return True
