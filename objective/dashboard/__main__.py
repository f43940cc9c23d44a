"""Serve optuna-dashboard with the pictures and sounds of the trials, on this machine.

Any --host but this machine needs a token in the environment variable DASHBOARD_TOKEN, for which the browser then asks as a
password. --listen puts the samples of the best trials of --study next to each other, to be compared by ear.
"""

import argparse
import sys

from objective.runtime.cli import Command, add_out, add_storage, add_study


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_storage(parser)
    add_out(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to serve (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, metavar="PORT", help="0: any free one (default 8080)")
    parser.add_argument(
        "--listen",
        type=int,
        nargs="?",
        const=8,
        metavar="K",
        help="compare the samples of the K best trials by ear (default 8)",
    )


COMMAND = Command("dashboard", "objective.dashboard.app", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
