"""Prepare a process for MLflow's client: which tracking URIs it may use, and how soon a dead server is noticed."""

import logging
import os
import re
from pathlib import Path

from model.errors import BadInput
from objective.settings.schema import mask_url
from objective.settings.views import tracking_uri

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
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def prepared_uri(value: str | None, out: Path) -> str:
    """Return the tracking URI of a command, and set the environment that MLflow reads while it is imported.

    value, out: as in `tracking_uri`. Raises BadInput for a URI that MLflow's databases and servers do not have.
    """
    uri = tracking_uri(value, out)
    if re.split(r"[:+]", uri)[0] not in SCHEMES:
        rule = "need a tracking URI such as http://HOST:5000, sqlite:///FILE or postgresql://..."
        raise BadInput(f"{rule}, got {mask_url(uri)}: MLflow no longer keeps runs in folders")
    for name, default in DEFAULTS.items():
        os.environ.setdefault(name, default)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning
    return uri


def artifact_location(uri: str, out: Path) -> str | None:
    """Return where files of an experiment lie: a folder in `out`; None where a server decides."""
    return None if uri.startswith("http") else (out / "mlartifacts").resolve().as_uri()


def innermost(why: BaseException) -> str:
    """Return the first cause of an error, on one line and without a password."""
    while (deeper := why.__cause__ or why.__context__) is not None:
        why = deeper
    return mask_url(" ".join(str(why).split()))
