"""Judge pruners on recorded learning curves, or rank a trial's figures by what was heard (--correlations).

Every pruner, ours and Optuna's, sees the curves of an archive (`record` writes one) in many orders, as a live study would show
them. The table lists what each saves and what it costs, with 95 % intervals. Where the archive has held-out curves, those are
judged. --correlations prints how well each figure ranks the trials by their free-running synthesis instead, as the recording
measured it, or as other judges heard it (--judgements, written by benchmarks/voices.py).
"""

import argparse
import os
import sys
from pathlib import Path

from objective.runtime.cli import Command


def arguments(parser: argparse.ArgumentParser) -> None:
    cores = min(8, os.cpu_count() or 1)
    parser.add_argument("--archive", type=Path, required=True, metavar="FILE", help="recorded curves, JSON lines")
    parser.add_argument("--pruner", nargs="+", action="extend", metavar="NAME", help="which pruners (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw regret against frames spent into this file")
    halves = ("held-out", "chosen", "all")
    parser.add_argument("--half", choices=halves, help="which curves (default: held-out if there are any; correlations: all)")
    parser.add_argument("--orders", type=int, default=200, metavar="N", help="orders of the trials (default 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the orders and of the intervals (default 0)")
    parser.add_argument("--workers", type=int, default=cores, metavar="N", help=f"processes (default {cores})")
    parser.add_argument("--correlations", action="store_true", help="rank a trial's figures by what was heard; no pruners")
    parser.add_argument("--judgements", type=Path, metavar="FILE", help="with --correlations: what other judges heard")
    parser.add_argument("--not-sick", action="store_true", help="with --correlations: leave the sick trials out")


COMMAND = Command("replay", "pruners.replay.program", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
