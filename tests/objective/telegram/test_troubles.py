"""What goes wrong around a reporter: it loses nothing, repeats nothing, and goes on by itself where that is possible."""

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from objective.settings.telegram_env import SetupError
from objective.telegram.bot_api import Bot, RequestRefused
from objective.telegram.reporter import POSITION, Reporter
from storage import studies
from storage.artifacts import artifacts
from storage.lookup import existing_study
from tests.objective.telegram.server import SAYS, TOKEN, BotApi
from tests.objective.telegram.studies import NAME, Made
from tests.objective.telegram.test_main import ended, started
from tests.objective.telegram.test_reporter import tell, told, watching
from tests.processes import happens, until


@pytest.mark.parametrize("said", ["TOPIC_CLOSED", "not enough rights to send text messages to the chat"])
def test_a_text_that_is_refused_stays_due(telegram: BotApi, tmp_path: Path, said: str) -> None:
    made = Made(tmp_path)
    made.complete(made.begin(), 0.5)
    telegram.script["sendMessage"].append((400, f"Bad Request: {said}", {}))
    with pytest.raises(RequestRefused, match=said[:12]):
        asyncio.run(tell(telegram, tmp_path))
    assert not telegram.chat
    asyncio.run(tell(telegram, tmp_path))
    assert [line[0] for line in told(telegram)] == ["▶", "⭐", "⏹"]


def test_a_file_that_is_refused_is_left_out(telegram: BotApi, tmp_path: Path, drawn: list[Path]) -> None:
    made, log = Made(tmp_path, drawn=drawn), list[str]()
    made.complete(made.begin(), 0.5)
    telegram.script["sendMediaGroup"].append((400, "Bad Request: not enough rights to send photos to the chat", {}))
    asyncio.run(tell(telegram, tmp_path, log=log))
    assert [line[0] for line in told(telegram)] == ["▶", "⭐", "t", "⏹"]
    assert [line[:31] for line in log] == ["left out: Telegram refused send"]


@pytest.mark.parametrize("signals", [1, 3])
@pytest.mark.parametrize("stopped_at", [0, 2, 4])
def test_a_signal_in_the_middle_of_a_message_lets_it_be_noted(
    telegram: BotApi, tmp_path: Path, drawn: list[Path], stopped_at: int, signals: int
) -> None:
    made = Made(tmp_path, drawn=drawn)
    made.complete(made.begin(), 0.5)
    heard = [0]

    def stop(method: str, fields: dict[str, Any]) -> None:
        heard[0] += method in SAYS
        if heard[0] == stopped_at + 1 and method in SAYS:
            for _ in range(signals):
                process.send_signal(signal.SIGINT)

    telegram.after = stop
    process = started(tmp_path, telegram)
    until(lambda: process.poll() is not None)
    assert ended(process)[::2] == (0, "")
    telegram.after = lambda method, fields: None
    asyncio.run(tell(telegram, tmp_path))
    assert [line[0] for line in told(telegram)] == ["▶", "⭐", "t", "t", "⏹"]


def test_without_a_database_it_ends_a_while_after_its_command_also_before_it_has_spoken(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr("objective.telegram.reporter.LAST_S", 0.3)
    Made(tmp_path)

    async def scenario() -> None:
        async with Bot(TOKEN, telegram.url, None, print) as bot:
            study = existing_study(f"sqlite:///{tmp_path}/tacotune.db", NAME)
            study._storage.retry_s = 0.05  # type: ignore[attr-defined]
            reporter = Reporter(study, bot, (1,), "en", tmp_path)
            holder = sqlite3.connect(tmp_path / "tacotune.db", isolation_level=None, timeout=30)
            holder.execute("BEGIN EXCLUSIVE")
            reporter.command.ended.set()
            with pytest.raises(TimeoutError, match="not everything was told"):
                await asyncio.wait_for(reporter.run(), 60)
            holder.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("stopped_at", range(6))
def test_told_to_stop_in_the_middle_of_a_message_it_notes_what_was_said(
    telegram: BotApi, tmp_path: Path, drawn: list[Path], stopped_at: int
) -> None:
    """The signal comes when Telegram has heard and has not answered yet."""
    made = Made(tmp_path, drawn=drawn)
    made.complete(made.begin(), 0.5)

    async def scenario() -> None:
        reporting, loop, heard = asyncio.create_task(tell(telegram, tmp_path)), asyncio.get_running_loop(), [0]

        def stop(method: str, fields: dict[str, Any]) -> None:
            heard[0] += method in SAYS
            if heard[0] > stopped_at:
                loop.call_soon_threadsafe(reporting.cancel)

        telegram.after = stop
        with pytest.raises(asyncio.CancelledError):
            await reporting

    asyncio.run(scenario())
    telegram.after = lambda method, fields: None
    asyncio.run(tell(telegram, tmp_path))
    assert [line[0] for line in told(telegram)] == ["▶", "⭐", "t", "t", "⏹"]
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 1


def test_a_file_name_that_is_no_text_and_a_picture_that_cannot_be_read(
    telegram: BotApi, tmp_path: Path, drawn: list[Path]
) -> None:
    made = Made(tmp_path, drawn=drawn)
    made.lose(made.begin(), "input/output error: /data/st\udcfchle/last.pt")
    made.complete(made.begin(), 0.5)
    picture = artifacts(made.study, made.trials[1], tmp_path)["alignment.png"]
    picture.unlink()
    picture.mkdir()
    asyncio.run(tell(telegram, tmp_path))
    assert "/data/st?hle/last.pt" in telegram.chat[1].text
    assert [said.method for said in telegram.chat if said.text == "trial 1: attention and curves"] == ["sendPhoto"]
    assert [line[0] for line in told(telegram)] == ["▶", "💥", "⭐", "t", "t", "⏹"]


def test_a_database_that_is_away_is_said_once_and_waited_for(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "BUSY_SECONDS", 0.05)
    made, log = Made(tmp_path), list[str]()

    async def scenario() -> None:
        async with watching(telegram, tmp_path, log) as reporter:
            reporter.study._storage.retry_s = 0.05  # type: ignore[attr-defined]
            await happens(lambda: len(telegram.chat) == 2)
            holder = sqlite3.connect(tmp_path / "tacotune.db", isolation_level=None, timeout=30)
            holder.execute("BEGIN EXCLUSIVE")
            await happens(lambda: log)
            holder.close()
            await happens(lambda: len(log) == 2)
            reporter.study._storage.retry_s = 60.0  # type: ignore[attr-defined]
            made.complete(made.begin(), 0.5)
            await happens(lambda: len(told(telegram)) == 2)

    asyncio.run(scenario())
    assert [line.partition(" (")[0] for line in log] == ["the database does not answer", "the database answers again"]


def test_another_bot_hears_its_commands_and_what_was_said_before_is_not_for_this_study(
    telegram: BotApi, tmp_path: Path
) -> None:
    made = Made(tmp_path)
    trial = made.begin()
    asyncio.run(tell(telegram, tmp_path))
    before = made.study.user_attrs[POSITION]
    assert before["bot"] == 7_000_001
    made.study.set_user_attr(POSITION, before | {"bot": 1, "offset": 900})
    telegram.ask("/stop 0")

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            await happens(lambda: reporter.position.bot == 7_000_001)
            telegram.ask("/help")
            await happens(lambda: "/status the board" in telegram.chat[-1].text)

    asyncio.run(scenario())
    assert made.trials[trial.number].state.name == "RUNNING"


@pytest.mark.parametrize(("beside", "marks"), [(True, ["▶"]), (False, ["▶", "⏹"])])
def test_beside_a_command_that_lives_a_study_without_workers_has_not_stopped(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool, marks: list[str]
) -> None:
    monkeypatch.setattr("objective.telegram.observer.IDLE_S", 0.0)
    Made(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            reporter.command.there = beside
            await happens(lambda: len(telegram.pinned) == 1 and len(told(telegram)) >= len(marks))
            assert [line[0] for line in told(telegram)] == marks
            reporter.command.there = True
            reporter.command.why = "killed"

    asyncio.run(scenario())
    assert [line[0] for line in told(telegram)] == ["▶", "⏹"]


def test_settings_of_another_version_are_one_sentence(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    settings = made.study.user_attrs["settings"]
    made.study.set_user_attr("settings", {**settings, "study": {"name": NAME}})
    with pytest.raises(SetupError, match="type its own command again, which writes them anew"):
        Reporter(existing_study(made.url, NAME), Bot(TOKEN, telegram.url, None, print), (1,), "en", tmp_path)
