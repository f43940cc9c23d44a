"""Keep the versions of a voice in MLflow's model registry, and choose the one that is served.

register: store a voice with its figures as the next version. promote: make a version the champion if it passes its gates.
rollback: make the one before the champion again. The champion speaks as `--voice registry:NAME` of speak and serve.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_out, add_storage
from objective.speak import add_mlflow


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", required=True, metavar="register|list|promote|rollback")
    register = what.add_parser("register", help="store a voice as the next version")
    register.add_argument("voice", metavar="FILE|STUDY", help="a voice file, or a study")
    register.add_argument("--name", required=True, metavar="NAME", help="name of the voice in the registry")
    register.add_argument("--trial", type=int, metavar="N", help="a trial of the study (default: the best)")
    register.add_argument("--quality", type=Path, metavar="FILE", help="what `tacotune quality --json FILE` has measured of it")
    add_storage(register)
    listing = what.add_parser("list", help="list the versions of a voice")
    promote = what.add_parser("promote", help="make a version the champion if it passes its gates")
    rollback = what.add_parser("rollback", help="make the version before the champion again")
    for action in (listing, promote, rollback):
        action.add_argument("name", metavar="NAME")
    promote.add_argument("version", type=int, metavar="VERSION")
    rollback.add_argument("--why", default="no reason given", metavar="TEXT", help="reason, stored with the version")
    for action in (register, listing, promote, rollback):
        add_out(action)
        add_mlflow(action)


COMMAND = Command("registry", "objective.speech.registry.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
