"""Steer a study from outside, from any machine that reaches its storage: `python -m objective.steer --study NAME pause`.

pause: no further trial begins, those that run go on; resume: they begin again; stop N: trial N ends at once and does not come
again, as with the dashboard's Fail button. The workers heed it between two trials, and a stop within one report. Exit codes:
0 done, 1 the machine failed, 2 bad input. Telegram's commands do the same.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from objective.beside import STORAGE

if TYPE_CHECKING:
    import optuna

PAUSED = "paused"  # attribute of a study


def paused(study: "optuna.Study") -> bool:
    return bool(study.user_attrs.get(PAUSED, False))


def pause(study: "optuna.Study", on: bool) -> None:
    study.set_user_attr(PAUSED, on)


def stop(study: "optuna.Study", number: int) -> bool:
    """End a trial that runs; False where none of that number does."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    running = {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    if number not in running:
        return False
    try:
        study._storage.set_trial_state_values(running[number]._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:  # it ended at this moment
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    from storage.existing import existing_study
    from storage.failures import FAILURES, StorageError, database_failure
    from storage.folders import url_of

    try:
        study = existing_study(url_of(parsed.storage, parsed.out), parsed.study)
        if parsed.what != "stop":
            pause(study, parsed.what == "pause")
            print("no further trial begins" if parsed.what == "pause" else "trials begin again")
        elif stop(study, parsed.trial):
            print(f"trial {parsed.trial} ends at its next report")
        else:
            print(f"need the number of a trial that runs, got {parsed.trial}: look at the dashboard", file=sys.stderr)
            return 2
    except StorageError as why:
        print(why, file=sys.stderr)
        return 2
    except FAILURES as why:
        print(f"the machine failed: {database_failure(why) or why}: mend that and type it again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m objective.steer", description="Steer a study that runs somewhere.")
    parser.add_argument("--study", required=True, metavar="NAME")
    parser.add_argument("--storage", default=os.environ.get(STORAGE), metavar="URL", help="as for the study")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="OUT", help="folder of all studies (default runs)")
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("pause", help="no further trial begins; those that run go on")
    what.add_parser("resume", help="trials begin again")
    what.add_parser("stop", help="end one trial for good").add_argument("trial", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
