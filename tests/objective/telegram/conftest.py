"""Fixtures of the reporter's tests: a Bot API server, the files of a trial, and short waits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.objective.telegram.server import BotApi
from tests.objective.telegram.short_waits import SHORT
from tests.objective.telegram.studies import write_files


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, constants in SHORT.items():
        for name, seconds in constants.items():
            monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with BotApi() as server:
        yield server
        assert not server.violations


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_files(tmp_path_factory.mktemp("files"))
