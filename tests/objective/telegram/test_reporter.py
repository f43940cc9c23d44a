"""The reporter against a server that enforces Telegram's rules: everything is reported once and in order, despite faults."""

import asyncio
import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from objective.telegram.bot_api import RequestRefused
from objective.telegram.reporter import POSITION
from storage.leases import owner
from storage.lookup import existing_study
from tests.objective.samples import report
from tests.objective.telegram.running import marks, report_all, report_all_in_process, reported, watching
from tests.objective.telegram.server import RESET, SENDING, SLOW, BotApi
from tests.objective.telegram.studies import NAME, PARAMS, REPORTED, StudyBuilder, eventful_study, sick
from tests.processes import happens

RETRY = (429, "Too Many Requests: retry after 1", {"retry_after": 0.1})
DOWN = (500, "Internal Server Error", {})
UNREADABLE = (400, "Bad Request: can't parse entities: unclosed tag", {})


def test_everything_is_reported_once_in_order_and_then_nothing_more(
    telegram: BotApi, tmp_path: Path, files: list[Path]
) -> None:
    eventful_study(tmp_path, files)
    asyncio.run(report_all(telegram, tmp_path))
    assert reported(telegram) == REPORTED
    asyncio.run(report_all(telegram, tmp_path))
    assert reported(telegram) == REPORTED
    assert telegram.pinned[0] == next(sent.number for sent in telegram.chat if sent.text.startswith(f"{NAME}:"))
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 1, "one board, edited"


def test_pictures_are_an_album_and_the_sample_is_a_voice_message(telegram: BotApi, tmp_path: Path, files: list[Path]) -> None:
    eventful_study(tmp_path, files)
    asyncio.run(report_all(telegram, tmp_path))
    names = ("trial 0: attention and curves", "trial 0: synthesized sample", "trial 1: attention and curves")
    album, voice, single = (telegram.chat[REPORTED.index(name)] for name in names)
    assert (album.method, sorted(album.files.values())) == ("sendMediaGroup", sorted(file.read_bytes() for file in files[:2]))
    assert (voice.method, voice.files) == ("sendVoice", {"voice": files[2].read_bytes()})
    assert (single.method, single.files) == ("sendPhoto", {"photo": files[0].read_bytes()})


def test_phones_ring_for_start_and_end_a_new_best_and_a_lost_trial(telegram: BotApi, tmp_path: Path) -> None:
    eventful_study(tmp_path, [])
    asyncio.run(report_all(telegram, tmp_path))
    loud = [line for line, sent in zip(telegram.lines, telegram.chat, strict=True) if not sent.fields["disable_notification"]]
    assert [line[0] for line in loud] == ["▶", "⭐", "⭐", "💥", "⏹"]


@pytest.mark.parametrize("fault", [RETRY, UNREADABLE, DOWN, RESET, SLOW])
def test_a_fault_at_any_message_loses_repeats_and_moves_none(
    telegram: BotApi, tmp_path: Path, files: list[Path], fault: Any
) -> None:
    eventful_study(tmp_path, files)
    for method in (*SENDING, "editMessageText", "pinChatMessage", "getMe", "getUpdates"):
        telegram.script[method].extend([fault] if fault in (RETRY, SLOW) else [fault, fault])
    if fault == UNREADABLE:
        for method in ("pinChatMessage", "getMe", "getUpdates"):
            telegram.script[method].clear()
        for method in SENDING:  # at every other message: plain text can be read
            telegram.script[method].pop()
    asyncio.run(report_all(telegram, tmp_path))
    assert reported(telegram) == REPORTED


def test_a_blocked_bot_is_silent_and_continues_when_it_is_unblocked(telegram: BotApi, tmp_path: Path) -> None:
    eventful_study(tmp_path, [])
    telegram.script["sendMessage"].extend([SLOW, (403, "Forbidden: bot was blocked by the user", {})])
    with pytest.raises(RequestRefused, match="blocked by the user"):
        asyncio.run(report_all(telegram, tmp_path))
    assert reported(telegram) == REPORTED[:1]
    asyncio.run(report_all(telegram, tmp_path))
    assert reported(telegram) == [line for line in REPORTED if not line.startswith("trial ")]


def test_commands_are_off_if_another_reader_takes_them_and_events_are_still_reported(telegram: BotApi, tmp_path: Path) -> None:
    builder, log = StudyBuilder(tmp_path), list[str]()
    telegram.script["getUpdates"].append((409, "Conflict: terminated by other getUpdates request", {}))

    async def scenario() -> None:
        async with watching(telegram, tmp_path, log):
            await happens(lambda: log)
            builder.complete(builder.begin(), 0.5)
            await happens(lambda: "⭐ trial 0: 0.500, best so far" in telegram.lines)

    asyncio.run(scenario())
    assert [line[:16] for line in log] == ["commands are off"]


def test_a_running_study_is_followed(telegram: BotApi, tmp_path: Path) -> None:
    """Each red flag once, the board edited in place, and the end when the command reports that it has finished."""
    builder = StudyBuilder(tmp_path, wanted=1)

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            trial = builder.begin()
            builder.reports(trial, report(60.0), sick(120.0))
            await happens(lambda: any("is critical: gradient norm 400.00 > " in line for line in telegram.lines))
            builder.reports(trial, sick(180.0))
            await happens(lambda: "36%" in telegram.texts.get(reporter.position.board or 0, ""))
            builder.complete(trial, 0.5)
            await happens(lambda: any(line.startswith("🏁") for line in telegram.lines))
            reporter.command.why = "finished"

    asyncio.run(scenario())
    assert [line.partition(" ")[0] for line in reported(telegram)] == ["▶️", "🚩", "⭐", "🏁"]
    (board,) = (text for text in telegram.texts.values() if text.startswith(f"<b>{NAME}</b>:"))
    assert "complete" in board.splitlines()


def test_a_killed_command_and_a_resumed_study_are_reported(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    asyncio.run(report_all(telegram, tmp_path, "killed"))
    assert "the process was killed; run the same command again to resume" in telegram.chat[1].text

    async def scenario() -> None:
        async with watching(telegram, tmp_path):
            trial = builder.begin()
            await happens(lambda: len(reported(telegram)) == 3)
            builder.fail(trial)
            await happens(lambda: len(reported(telegram)) == 4)

    asyncio.run(scenario())
    assert marks(telegram) == ["▶", "⏹", "▶", "✋", "⏹"]


def test_a_command_that_ends_while_another_one_works_on_the_study_is_no_event(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.begin().set_user_attr("owner", owner() | {"host": "elsewhere"})
    asyncio.run(report_all(telegram, tmp_path))
    assert marks(telegram) == ["▶"]


def test_a_study_with_many_finished_trials_is_reported_from_now_on(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path, wanted=20)
    for _ in range(11):
        builder.prune(builder.begin())
    asyncio.run(report_all(telegram, tmp_path))
    assert marks(telegram) == ["▶", "⏹"]
    assert existing_study(builder.url, NAME).user_attrs[POSITION]["ended"] == [[0, 10]]


def test_a_deleted_board_is_replaced(telegram: BotApi, tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    asyncio.run(report_all(telegram, tmp_path))
    telegram.texts.clear()
    builder.fail(builder.begin())
    asyncio.run(report_all(telegram, tmp_path))
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 2
    assert len(set(telegram.pinned)) == 2


@pytest.mark.parametrize(("when", "every"), [("before", 1), ("after", 2)])
def test_a_reporter_killed_at_a_message_loses_none(
    telegram: BotApi, tmp_path: Path, files: list[Path], when: str, every: int
) -> None:
    """Killed before a message arrives, it repeats none; killed between its arrival and its record, that one and no other."""
    builder = StudyBuilder(tmp_path, files=files)
    builder.complete(builder.begin(), 0.5)
    builder.lose(builder.begin())
    builder.files = []
    builder.prune(builder.begin(again_of=1))
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.objective.telegram.running"])
    victims: list[Any] = []
    seen: set[str] = set()

    def kill(method: str, fields: dict[str, Any]) -> None:
        key = f"{method} {fields.get('text') or fields.get('caption') or fields.get('media')}"
        if method not in SENDING or key in seen:
            return
        seen.add(key)
        if (len(seen) - 1) % every == 0:
            os.kill(victims[-1].pid, signal.SIGKILL)
            raise ConnectionError

    setattr(telegram, when, kill)
    while True:
        victims.append(context.Process(target=report_all_in_process, args=(telegram.url, tmp_path)))
        victims[-1].start()
        victims[-1].join(30)
        if victims[-1].exitcode == 0:
            break
        assert victims[-1].exitcode == -signal.SIGKILL
    expected = ["▶", "⭐", "t", "t", "💥", "↪", "✂", "⏹"]
    twice = [mark for place, mark in enumerate(expected) for _ in range(2 if place % every == 0 else 1)]
    assert marks(telegram) == (expected if when == "before" else twice)
    assert len(victims) == 1 - (-(len(expected) + 1) // every), "the board is a message, too"


def test_one_of_two_reporters_is_active_and_the_other_takes_over(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objective.telegram.reporter.SETTLE_S", 2.0)  # longer than a write takes
    builder = StudyBuilder(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path, chats=(1,)) as first, watching(telegram, tmp_path, chats=(2,)) as second:
            await happens(lambda: telegram.chat)
            builder.complete(builder.begin(), 0.5)
            await happens(lambda: len(reported(telegram)) == 2)
            active, other = (first, second) if telegram.chat[0].chat == 1 else (second, first)
            active.command.ended.set()
            await happens(other.lease.mine)
            builder.complete(builder.begin({**PARAMS, "network.reduction": 3}), 0.4)
            await happens(lambda: len(reported(telegram)) == 5)

    asyncio.run(scenario())
    assert marks(telegram) == ["▶", "⭐", "⏹", "▶", "⭐", "⏹"]
    chats = [sent.chat for sent in telegram.chat if not sent.text.startswith(f"{NAME}:")]
    assert chats[:3] == [chats[0]] * 3
    assert chats[3:] == [3 - chats[0]] * 3
