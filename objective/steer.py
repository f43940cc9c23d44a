"""Control a running study from any machine that reaches its storage.

pause: no further trial starts, running ones continue. resume: trials start again. stop N: trial N ends at its next report and
is not retried, like the dashboard's Fail button.
"""

import argparse
import sys

from objective.runtime.cli import Command, add_out, add_storage, add_study


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_storage(parser)
    add_out(parser)
    what = parser.add_subparsers(dest="what", required=True, metavar="pause|resume|stop")
    what.add_parser("pause", help="start no further trial; running ones continue")
    what.add_parser("resume", help="start trials again")
    what.add_parser("stop", help="end one trial for good").add_argument("trial", type=int, metavar="N")


COMMAND = Command("steer", "objective.search.control", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
