"""Record whole learning curves of random configurations, sick ones included, into an archive for `replay`.

Every trial is trained to the end of its budget without a pruner. A recording that was stopped continues when the same command
is typed again. The later half of the trials is held out, or those from --held-out-from: thresholds are chosen on the others and
tested on these. The format of the archive is described in objective/search/recording.py.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_out


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=128, metavar="N", help="curves in the archive (default 128)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    archive = Path("runs/curves.jsonl")
    parser.add_argument("--archive", type=Path, default=archive, metavar="FILE", help=f"the file to write (default {archive})")
    parser.add_argument("--held-out-from", type=int, metavar="K", help="first trial that is held out (default: the later half)")
    parser.add_argument("--keep-weights", action="store_true", help="keep the best snapshot of each trial next to its curve")
    add_out(parser)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # the share of one process


COMMAND = Command("record", "objective.search.recording", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
