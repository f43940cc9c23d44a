"""Tell whether two configurations, or two voices, differ.

Configurations: A and B are each a study (its best trial), STUDY:N (its trial N), or a YAML file of settings, such as
config.yaml of a trial. Both are trained with several seeds on the same data; the k-th seed of both is the same. The same
command, typed again, continues.

Voices: A and B are files, such as voice.pt. Nothing is trained: both say the same held-out sentences of their recordings, which
--data names unless the files do, and are compared sentence by sentence.

It ends with the effect on each figure, its interval, the p-value of a permutation test, and a page with the samples of both.
"""

import argparse
import sys

from objective.runtime.cli import Command
from objective.settings.flags import add_flags

SHARED = ("--data", "--language", "--budget-kframes", "--device", "--workers", "--storage", "--out")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="STUDY, STUDY:N, FILE or the file of a voice")
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--seeds", type=int, default=6, metavar="N", help="trainings of each side (default 6, at least 4)")
    parser.add_argument("--name", default="compare", metavar="NAME", help="name of its two studies (default compare)")
    add_flags(parser, SHARED)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of both; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="the result only")


COMMAND = Command("compare", "objective.workers.comparison", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
