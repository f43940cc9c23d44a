"""Log a study to MLflow: the program of `mlflow` (objective/mlflow.py)."""

import argparse
import logging
import os
import re
from hashlib import sha256

from model.errors import BadInput
from objective.settings.schema import mask_url
from objective.settings.views import VIEWS, tracking_uri
from objective.views.follow import follow
from objective.views.launcher import ready_to_type

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
# A dead server is noticed in seconds, and nothing is reported to anybody else. An already set variable wins.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def run(parsed: argparse.Namespace) -> int:
    """Log the study until it ends. Raises BadInput for a study or a tracking URI that cannot be used."""
    uri = tracking_uri(parsed.uri, parsed.out)
    if re.split(r"[:+]", uri)[0] not in SCHEMES:
        rule = "need a tracking URI such as http://HOST:5000, sqlite:///FILE or postgresql://..."
        raise BadInput(f"{rule}, got {mask_url(uri)}: MLflow no longer keeps runs in folders")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning
    from objective.views.mlflow_runs import MlflowRuns  # imports mlflow, which reads these variables while it is imported

    lock = f".mlflow-{sha256(uri.encode()).hexdigest()[:8]}.lock"
    opened = ready_to_type(str(VIEWS["mlflow"].how_to_open(uri, parsed.out, 0)))
    return follow("mlflow", parsed, lambda study_log: MlflowRuns(study_log, uri, parsed.out), lock, opened)
