"""Faults around a reporter: it loses nothing, repeats nothing, and recovers by itself where that is possible."""

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from objective.settings.telegram_env import SetupError
from objective.telegram.bot_api import Bot, RequestRefused
from objective.telegram.reporter import POSITION, NotAllReported, Reporter
from storage import studies
from storage.artifacts import artifacts
from storage.lookup import existing_study
from tests.objective.telegram.running import end, marks, report_all, reported, start, watching
from tests.objective.telegram.server import SENDING, TOKEN, BotApi
from tests.objective.telegram.studies import NAME, StudyBuilder
from tests.processes import happens, until


@pytest.mark.parametrize("reason", ["TOPIC_CLOSED", "not enough rights to send text messages to the chat"])
def test_a_refused_text_stays_pending(telegram: BotApi, tmp_path: Path, reason: str) -> None:
    builder = StudyBuilder(tmp_path)
    builder.complete(builder.begin(), 0.5)
    telegram.script["sendMessage"].append((400, f"Bad Request: {reason}", {}))
    with pytest.raises(RequestRefused, match=reason[:12]):
        asyncio.run(report_all(telegram, tmp_path))
    assert not telegram.chat
    asyncio.run(report_all(telegram, tmp_path))
    assert marks(telegram) == ["▶", "⭐", "⏹"]


def test_a_refused_file_is_skipped(telegram: BotApi, tmp_path: Path, files: list[Path]) -> None:
    builder, log = StudyBuilder(tmp_path, files=files), list[str]()
    builder.complete(builder.begin(), 0.5)
    telegram.script["sendMediaGroup"].append((400, "Bad Request: not enough rights to send photos to the chat", {}))
    asyncio.run(report_all(telegram, tmp_path, log=log))
    assert marks(telegram) == ["▶", "⭐", "t", "⏹"]
    assert [line[:30] for line in log] == ["skipped: Telegram refused send"]


@pytest.mark.parametrize(("stopped_at", "signals"), [(0, 1), (2, 3), (4, 1)])
def test_a_message_that_a_signal_interrupts_is_recorded(
    telegram: BotApi, tmp_path: Path, files: list[Path], stopped_at: int, signals: int
) -> None:
    builder = StudyBuilder(tmp_path, files=files)
    builder.complete(builder.begin(), 0.5)
    received = [0]

    def stop(method: str, fields: dict[str, Any]) -> None:
        received[0] += method in SENDING
        if received[0] == stopped_at + 1 and method in SENDING:
            for _ in range(signals):
                process.send_signal(signal.SIGINT)

    telegram.after = stop
    process = start(tmp_path, telegram)
    until(lambda: process.poll() is not None)
    assert end(process)[::2] == (0, "")
    telegram.after = lambda method, fields: None
    asyncio.run(report_all(telegram, tmp_path))
    assert marks(telegram) == ["▶", "⭐", "t", "t", "⏹"]


def test_without_a_database_the_reporter_ends_some_time_after_the_command_even_if_it_has_sent_nothing(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr("objective.telegram.reporter.LAST_S", 0.3)
    StudyBuilder(tmp_path)

    async def scenario() -> None:
        async with Bot(TOKEN, telegram.url, None, print) as bot:
            study = existing_study(f"sqlite:///{tmp_path}/tacotune.db", NAME)
            study._storage.retry_s = 0.05  # type: ignore[attr-defined]
            reporter = Reporter(study, bot, (1,), "en", tmp_path)
            holder = sqlite3.connect(tmp_path / "tacotune.db", isolation_level=None, timeout=30)
            holder.execute("BEGIN EXCLUSIVE")
            reporter.command.ended.set()
            with pytest.raises(NotAllReported, match="not everything could be reported"):
                await asyncio.wait_for(reporter.run(), 60)
            holder.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("stopped_at", range(6))
def test_a_cancelled_reporter_records_the_message_that_is_under_way(
    telegram: BotApi, tmp_path: Path, files: list[Path], stopped_at: int
) -> None:
    """The cancellation comes when Telegram has received the message and has not answered yet."""
    builder = StudyBuilder(tmp_path, files=files)
    builder.complete(builder.begin(), 0.5)

    async def scenario() -> None:
        reporting, loop, received = asyncio.create_task(report_all(telegram, tmp_path)), asyncio.get_running_loop(), [0]

        def stop(method: str, fields: dict[str, Any]) -> None:
            received[0] += method in SENDING
            if received[0] > stopped_at:
                loop.call_soon_threadsafe(reporting.cancel)

        telegram.after = stop
        with pytest.raises(asyncio.CancelledError):
            await reporting

    asyncio.run(scenario())
    telegram.after = lambda method, fields: None
    asyncio.run(report_all(telegram, tmp_path))
    assert marks(telegram) == ["▶", "⭐", "t", "t", "⏹"]
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 1


def test_an_undecodable_file_name_and_an_unreadable_picture_do_no_harm(
    telegram: BotApi, tmp_path: Path, files: list[Path]
) -> None:
    builder = StudyBuilder(tmp_path, files=files)
    builder.lose(builder.begin(), "input/output error: /data/st\udcfchle/last.pt")
    builder.complete(builder.begin(), 0.5)
    picture = artifacts(builder.study, builder.trials[1], tmp_path)["alignment.png"]
    picture.unlink()
    picture.mkdir()
    asyncio.run(report_all(telegram, tmp_path))
    assert "/data/st?hle/last.pt" in telegram.chat[1].text
    assert [sent.method for sent in telegram.chat if sent.text == "trial 1: attention and curves"] == ["sendPhoto"]
    assert marks(telegram) == ["▶", "💥", "⭐", "t", "t", "⏹"]


def test_an_outage_of_the_database_is_logged_once_and_waited_out(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "BUSY_SECONDS", 0.05)
    builder, log = StudyBuilder(tmp_path), list[str]()

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
            builder.complete(builder.begin(), 0.5)
            await happens(lambda: len(reported(telegram)) == 2)

    asyncio.run(scenario())
    assert [line.partition(" (")[0] for line in log] == ["the database does not answer", "the database answers again"]


def test_another_bot_ignores_the_commands_it_received_before_it_reported_this_study(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    trial = builder.begin()
    asyncio.run(report_all(telegram, tmp_path))
    before = builder.study.user_attrs[POSITION]
    assert before["bot"] == 7_000_001
    builder.study.set_user_attr(POSITION, before | {"bot": 1, "offset": 900})
    telegram.receive("/stop 0")

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            await happens(lambda: reporter.position.bot == 7_000_001)
            telegram.receive("/help")
            await happens(lambda: "/status: progress of the study" in telegram.chat[-1].text)

    asyncio.run(scenario())
    assert builder.trials[trial.number].state.name == "RUNNING"


@pytest.mark.parametrize(("own_command", "expected"), [(True, ["▶"]), (False, ["▶", "⏹"])])
def test_a_study_without_workers_has_not_stopped_while_its_command_lives(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_command: bool, expected: list[str]
) -> None:
    monkeypatch.setattr("objective.telegram.observer.IDLE_S", 0.0)
    StudyBuilder(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            reporter.command.present = own_command
            await happens(lambda: len(telegram.pinned) == 1 and len(reported(telegram)) >= len(expected))
            assert marks(telegram) == expected
            reporter.command.present = True
            reporter.command.why = "killed"

    asyncio.run(scenario())
    assert marks(telegram) == ["▶", "⏹"]


def test_settings_of_another_version_end_with_one_sentence(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    settings = builder.study.user_attrs["settings"]
    builder.study.set_user_attr("settings", {**settings, "study": {"name": NAME}})
    with pytest.raises(SetupError, match="run the study's own command once more, which writes them anew"):
        Reporter(existing_study(builder.url, NAME), Bot(TOKEN, telegram.url, None, print), (1,), "en", tmp_path)
