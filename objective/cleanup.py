"""Delete the snapshots that a study no longer needs. Files of a trial that runs or will be resumed are never deleted."""

import argparse
import sys

from objective.runtime.cli import Command, add_out, add_storage, add_study


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_storage(parser)
    add_out(parser)
    parser.add_argument("--top-k", type=int, metavar="K", help="keep the weights of the K best trials (default: of all)")
    parser.add_argument("--quota-gb", type=float, metavar="GB", help="delete the worst weights until all snapshots fit")
    parser.add_argument("--keep-pruned", action="store_true", help="keep the weights of pruned trials, too")
    parser.add_argument("--dry-run", action="store_true", help="delete nothing, only list what would be deleted")


COMMAND = Command("cleanup", "storage.cleanup", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
