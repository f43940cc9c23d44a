"""Fixtures of the tests of views: a study that was run once, and an empty MLflow."""

import shutil
from pathlib import Path

import pytest

from objective.settings.tracking import DEFAULTS


@pytest.fixture(scope="session")
def study(watched: Path) -> Path:
    """The folder of the study that the views show."""
    return watched


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
