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

from objective.views.launcher import STORAGE

if TYPE_CHECKING:
    pass


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    from objective.search.control import pause, stop
    from storage.errors import FAILURES, StorageError, database_failure
    from storage.lookup import existing_study
    from storage.paths import url_of

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
