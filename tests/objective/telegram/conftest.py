"""What the reporter's tests share: a server, what trials leave to look at, and waits that are short."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from objective.telegram import bot_api as api
from objective.telegram import lease, reporter
from tests.objective.telegram.server import BotApi
from tests.objective.telegram.studies import draw

QUICK = {
    api: {"SPACING_S": 0.0, "FIRST_S": 0.01, "LONGEST_S": 0.05, "ANSWER_S": 5.0},
    lease: {"GRACE_S": 5.0},
    reporter: {"POLL_S": 0.02, "BOARD_S": 0.1, "SETTLE_S": 0.05, "BEAT_S": 0.1, "LISTEN_S": 0.5, "LEAVE_S": 0.2},
}


def stop_retrying() -> None:
    """For processes of their own."""
    for module, constants in QUICK.items():
        for name, seconds in constants.items():
            setattr(module, name, seconds)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, constants in QUICK.items():
        for name, seconds in constants.items():
            monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with BotApi() as server:
        yield server
        assert not server.faults


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw(tmp_path_factory.mktemp("drawn"))
