"""Control a running study through its storage: pause and resume it, stop one of its trials.

Workers check for a pause between two trials, and for a stop at every report.
"""

import argparse

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from model.errors import BadInput
from storage.lookup import existing_study
from storage.optuna_private import fail
from storage.paths import url_of

PAUSED = "paused"  # attribute of a study


def paused(study: optuna.Study) -> bool:
    """Return whether a study is paused."""
    return bool(study.user_attrs.get(PAUSED, False))


def pause(study: optuna.Study, on: bool) -> None:
    """Pause a study, or resume it where `on` is False."""
    study.set_user_attr(PAUSED, on)


def stop(study: optuna.Study, number: int) -> bool:
    """End a running trial; return False where no running trial has that number."""
    running = {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    if number not in running:
        return False
    try:
        fail(study, running[number])
    except UpdateFinishedTrialError:  # it has ended in between
        return False
    return True


def run(parsed: argparse.Namespace) -> int:
    """Run the command `steer`. Raises BadInput where there is no such study or no such running trial."""
    study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
    if parsed.what == "stop":
        if not stop(study, parsed.trial):
            raise BadInput(f"need the number of a running trial, got {parsed.trial}: look at the dashboard")
        print(f"trial {parsed.trial} ends at its next report")
    else:
        pause(study, parsed.what == "pause")
        print("no further trial starts" if parsed.what == "pause" else "trials start again")
    return 0
