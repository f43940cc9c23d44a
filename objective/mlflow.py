"""Log a study to MLflow, and follow it while it runs: a run for the study, and below it one for each configuration.

Needs no database of the study. May be killed at any moment, started twice, or given an empty server: it asks MLflow what is
there and logs what is missing.
"""

import argparse
import sys

from objective.runtime.cli import Command, add_view


def arguments(parser: argparse.ArgumentParser) -> None:
    add_view(parser)
    parser.add_argument(
        "--uri", metavar="URI", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI, else the SQLite file OUT/mlflow.db)"
    )


COMMAND = Command("mlflow", "objective.views.mlflow_view", __doc__, arguments)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
