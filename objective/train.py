"""Train one voice for long: the best configuration of a study, continued from its weights.

The training is a study of one trial with a name of its own: the same command, typed again, continues it, and every view shows
it. Unlike a trial it repairs itself while it runs: what diverges is rolled back to good weights with half the learning rate.
Its end is one file, voice.pt, for `speak`.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_study
from objective.settings.flags import add_flags

# Flags of the study command that mean the same here.
SHARED = (
    "--data", "--language", "--budget-kframes", "--device", "--timeout", "--storage", "--out",
    "--with-dashboard", "--mlflow", "--tensorboard",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument("--trial", type=int, metavar="N", help="which of the study's trials (default: the best)")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="instead of a study: config.yaml of a trial, or other settings"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the training and of its folder (default STUDY-voice)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="continue the training --name as it was started")
    parser.add_argument("--warm-start", type=Path, metavar="FILE", help="weights to start from (default: those of the trial)")
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    parser.add_argument(
        "--safe", action="store_true", help="learning rate 1e-4, clipping at 1, single precision, batches of 8: for a restart"
    )
    parser.add_argument("--notify", action="store_true", help="report to Telegram, as --telegram of the study command does")
    add_flags(parser, SHARED)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="the closing page only")


COMMAND = Command("train", "objective.workers.training", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
