"""Write a study as a table (CSV or Parquet) or as one HTML page. Needs no database, and no network to look at.

A table has one row for each report: the trial, every field of the report by its dotted name, how the trial ended, and its
parameters as `param.NAME`. The page holds all trials with their sounds and pictures.
"""

import argparse
import sys
from pathlib import Path

from objective.runtime.cli import Command, add_out, add_study


def arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_out(parser)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each report")
    kind.add_argument("--parquet", type=Path, metavar="FILE", help="the same, with types")
    kind.add_argument("--html", type=Path, metavar="FILE", help="write one page to look at and to listen to")


COMMAND = Command("export", "objective.views.table_export", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
