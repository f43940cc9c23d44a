"""Fixtures of the tests of the search: a study to migrate."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from storage.studies import open_storage
from tests.objective.search.migration import make_study


@pytest.fixture(scope="session")
def quiet_optuna() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(scope="session")
def old_database(tmp_path_factory: pytest.TempPathFactory, quiet_optuna: None) -> Path:
    """A database with a study `old` of forty trials and one that is still running."""
    file = tmp_path_factory.mktemp("old") / "tacotune.db"
    make_study(open_storage(f"sqlite:///{file}"), "old", 40)
    return file


@pytest.fixture
def storage(old_database: Path, tmp_path: Path) -> optuna.storages.BaseStorage:
    """A copy of that database."""
    with closing(sqlite3.connect(old_database)) as source, closing(sqlite3.connect(tmp_path / "tacotune.db")) as target:
        source.backup(target)
    return open_storage(f"sqlite:///{tmp_path}/tacotune.db")
