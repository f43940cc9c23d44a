"""Fixtures of the tests of views: a study that was run once, and an MLflow database whose tables were made once."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from objective.views.mlflow_view import DEFAULTS


@pytest.fixture(scope="session")
def study(watched: Path) -> Path:
    """The folder of the study that the views show."""
    return watched


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without a run: making its tables takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def uri(empty: Path, tmp_path: Path) -> str:
    """The tracking URI of an empty MLflow of the test's own."""
    shutil.copyfile(empty, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def mlflow_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the command gives MLflow."""
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
