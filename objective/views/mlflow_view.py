"""Log a study to MLflow: the program of `mlflow` (objective/mlflow.py)."""

import argparse
from hashlib import sha256

from objective.settings.tracking import prepared_uri
from objective.settings.views import VIEWS
from objective.views.follow import follow
from objective.views.launcher import ready_to_type


def run(parsed: argparse.Namespace) -> int:
    """Log the study until it ends. Raises BadInput for a study or a tracking URI that cannot be used."""
    uri = prepared_uri(parsed.uri, parsed.out)
    from objective.views.mlflow_runs import MlflowRuns  # imports mlflow, which reads the environment while it is imported

    lock = f".mlflow-{sha256(uri.encode()).hexdigest()[:8]}.lock"
    opened = ready_to_type(str(VIEWS["mlflow"].how_to_open(uri, parsed.out, 0)))
    return follow("mlflow", parsed, lambda study_log: MlflowRuns(study_log, uri, parsed.out), lock, opened)
