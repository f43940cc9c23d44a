"""Look at a corpus before anything is trained on it: what is wrong, and what to do about it.

Reads it as a study does; lists bad lines by cause; shows texts as they are read; holds the lengths of texts against those of
sounds; lets a listener hear each half of the corpus after it has learnt from the other; measures levels, noise and bandwidth;
tries the network on the largest batch. Exit codes: 0 fine, 1 a training should not start with this, 2 unusable input.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command
from objective.settings.flags import add_flags

LISTEN_KFRAMES, LISTEN_MINUTES = 2_500.0, 15.0


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("--data", "--language", "--profile", "--device", "--out"))
    parser.add_argument("--columns", metavar="SOUND,TEXT", help="columns of the list, such as 1,3 (default: recognised)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--text", metavar="TEXT", help="print only how this text is read; exit code 1 if it cannot be")
    parser.add_argument(
        "--listen",
        action=argparse.BooleanOptionalAction,
        help="let a listener hear every line (default: from 30 minutes of speech on)",
    )
    parser.add_argument(
        "--listen-kframes", type=float, default=LISTEN_KFRAMES, metavar="N",
        help=f"kframes that it learns from in each half, at most (default {LISTEN_KFRAMES:g})",
    )  # fmt: skip
    parser.add_argument(
        "--listen-minutes", type=float, default=LISTEN_MINUTES, metavar="N",
        help=f"minutes that it learns in both halves, at most (default {LISTEN_MINUTES:g})",
    )  # fmt: skip
    parser.add_argument(
        "--network", action=argparse.BooleanOptionalAction, default=True, help="try the network on the largest batch (default)"
    )
    parser.add_argument("--probe", action="store_true", help="also let the network learn one batch by heart")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, each line with its measures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with players for the lines worth hearing")
    parser.add_argument("--quiet", action="store_true", help="without progress")


COMMAND = Command("check", "objective.checking.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
