"""The reporter against a server that keeps Telegram's rules: everything is told once and in order, whatever goes wrong."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from objective.telegram.bot_api import Bot, RequestRefused
from objective.telegram.reporter import POSITION, Reporter
from storage.leases import owner
from storage.lookup import existing_study
from tests.objective.samples import report
from tests.objective.telegram.conftest import stop_retrying
from tests.objective.telegram.server import RESET, SAYS, SLOW, TOKEN, BotApi
from tests.objective.telegram.studies import NAME, POINT, TOLD, Made, sick, whole
from tests.processes import happens

RETRY = (429, "Too Many Requests: retry after 1", {"retry_after": 0.1})
DOWN = (500, "Internal Server Error", {})
UNREADABLE = (400, "Bad Request: can't parse entities: unclosed tag", {})


def told(telegram: BotApi) -> list[str]:
    """The first lines of what was said, boards left out."""
    return [line for line in telegram.lines if not line.startswith(f"{NAME}:")]


async def tell(telegram: BotApi, out: Path, why: str = "interrupted", log: list[str] | None = None, **more: Any) -> None:
    """All that a reporter says beside a command that has ended."""
    study = existing_study(f"sqlite:///{out}/tacotune.db", NAME)
    async with Bot(TOKEN, telegram.url, None, [].append if log is None else log.append) as bot:
        reporter = Reporter(study, bot, **{"chats": (1,), "language": "en", "out": out, **more})
        reporter.command.why = why
        reporter.command.ended.set()
        await asyncio.wait_for(reporter.run(), 60)


@asynccontextmanager
async def watching(telegram: BotApi, out: Path, log: list[str] | None = None, **more: Any) -> AsyncIterator[Reporter]:
    """A reporter beside a command that goes on until the block ends."""
    study = existing_study(f"sqlite:///{out}/tacotune.db", NAME)
    async with Bot(TOKEN, telegram.url, None, [].append if log is None else log.append) as bot:
        reporter = Reporter(study, bot, **{"chats": (1, 2), "language": "en", "out": out, **more})
        running = asyncio.create_task(reporter.run())
        yield reporter
        reporter.command.ended.set()
        await asyncio.wait_for(running, 60)


def test_everything_that_happened_is_told_once_in_order_and_then_nothing_more(
    telegram: BotApi, tmp_path: Path, drawn: list[Path]
) -> None:
    whole(tmp_path, drawn)
    asyncio.run(tell(telegram, tmp_path))
    assert told(telegram) == TOLD
    asyncio.run(tell(telegram, tmp_path))
    assert told(telegram) == TOLD
    assert telegram.pinned[0] == next(said.number for said in telegram.chat if said.text.startswith(f"{NAME}:"))
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 1, "one board, edited"


def test_pictures_come_as_an_album_and_the_sample_as_a_voice(telegram: BotApi, tmp_path: Path, drawn: list[Path]) -> None:
    whole(tmp_path, drawn)
    asyncio.run(tell(telegram, tmp_path))
    names = ("trial 0: attention and curves", "trial 0", "trial 1: attention and curves")
    album, voice, single = (telegram.chat[TOLD.index(name)] for name in names)
    assert (album.method, sorted(album.files.values())) == ("sendMediaGroup", sorted(file.read_bytes() for file in drawn[:2]))
    assert (voice.method, voice.files) == ("sendVoice", {"voice": drawn[2].read_bytes()})
    assert (single.method, single.files) == ("sendPhoto", {"photo": drawn[0].read_bytes()})


def test_telephones_ring_for_what_matters(telegram: BotApi, tmp_path: Path) -> None:
    whole(tmp_path, [])
    asyncio.run(tell(telegram, tmp_path))
    loud = [line for line, said in zip(telegram.lines, telegram.chat, strict=True) if not said.fields["disable_notification"]]
    assert [line[0] for line in loud] == ["▶", "⭐", "⭐", "💥", "⏹"]


@pytest.mark.parametrize("fault", [RETRY, UNREADABLE, DOWN, RESET, SLOW])
def test_a_fault_at_any_message_neither_loses_nor_repeats_nor_moves_one(
    telegram: BotApi, tmp_path: Path, drawn: list[Path], fault: Any
) -> None:
    whole(tmp_path, drawn)
    for method in (*SAYS, "editMessageText", "pinChatMessage", "getMe", "getUpdates"):
        telegram.script[method].extend([fault] if fault in (RETRY, SLOW) else [fault, fault])
    if fault == UNREADABLE:
        for method in ("pinChatMessage", "getMe", "getUpdates"):
            telegram.script[method].clear()
        for method in SAYS:  # at every other message: what is plain can be read
            telegram.script[method].pop()
    asyncio.run(tell(telegram, tmp_path))
    assert told(telegram) == TOLD


def test_who_is_not_wanted_is_silent_and_goes_on_once_he_is(telegram: BotApi, tmp_path: Path) -> None:
    whole(tmp_path, [])
    telegram.script["sendMessage"].extend([SLOW, (403, "Forbidden: bot was blocked by the user", {})])
    with pytest.raises(RequestRefused, match="blocked by the user"):
        asyncio.run(tell(telegram, tmp_path))
    assert told(telegram) == TOLD[:1]
    asyncio.run(tell(telegram, tmp_path))
    assert told(telegram) == [line for line in TOLD if not line.startswith("trial ")]


def test_commands_are_off_where_somebody_else_reads_them_and_events_go_on(telegram: BotApi, tmp_path: Path) -> None:
    made, log = Made(tmp_path), list[str]()
    telegram.script["getUpdates"].append((409, "Conflict: terminated by other getUpdates request", {}))

    async def scenario() -> None:
        async with watching(telegram, tmp_path, log):
            await happens(lambda: log)
            made.complete(made.begin(), 0.5)
            await happens(lambda: "⭐ trial 0: 0.500, the best so far" in telegram.lines)

    asyncio.run(scenario())
    assert [line[:16] for line in log] == ["commands are off"]


def test_a_running_study_is_followed(telegram: BotApi, tmp_path: Path) -> None:
    """Red flags once, the board in place, and the end where the command says that it has finished."""
    made = Made(tmp_path, wanted=1)

    async def scenario() -> None:
        async with watching(telegram, tmp_path) as reporter:
            trial = made.begin()
            made.reports(trial, report(60.0), sick(120.0))
            await happens(lambda: any("is critical: gradient norm 400.00 > " in line for line in telegram.lines))
            made.reports(trial, sick(180.0))
            await happens(lambda: "36%" in telegram.texts.get(reporter.position.board or 0, ""))
            made.complete(trial, 0.5)
            await happens(lambda: any(line.startswith("🏁") for line in telegram.lines))
            reporter.command.why = "finished"

    asyncio.run(scenario())
    assert [line.partition(" ")[0] for line in told(telegram)] == ["▶️", "🚩", "⭐", "🏁"]
    (board,) = (text for text in telegram.texts.values() if text.startswith(f"<b>{NAME}</b>:"))
    assert "done" in board.splitlines()


def test_a_study_that_goes_on_says_so_and_a_killed_command_is_named(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    asyncio.run(tell(telegram, tmp_path, "killed"))
    assert "typed again it goes on" in telegram.chat[1].text

    async def scenario() -> None:
        async with watching(telegram, tmp_path):
            trial = made.begin()
            await happens(lambda: len(told(telegram)) == 3)
            made.fail(trial)
            await happens(lambda: len(told(telegram)) == 4)

    asyncio.run(scenario())
    assert [line[0] for line in told(telegram)] == ["▶", "⏹", "▶", "✋", "⏹"]


def test_another_commands_study_is_left_in_silence(telegram: BotApi, tmp_path: Path) -> None:
    """Of two commands on one study one ends: a trial of the other still runs."""
    made = Made(tmp_path)
    made.begin().set_user_attr("owner", owner() | {"host": "elsewhere"})
    asyncio.run(tell(telegram, tmp_path))
    assert [line[0] for line in told(telegram)] == ["▶"]


def test_of_a_study_that_is_far_already_the_past_is_not_told(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path, wanted=20)
    for _ in range(11):
        made.prune(made.begin())
    asyncio.run(tell(telegram, tmp_path))
    assert [line[0] for line in told(telegram)] == ["▶", "⏹"]
    assert existing_study(made.url, NAME).user_attrs[POSITION]["ended"] == [[0, 10]]


def test_a_deleted_board_is_made_anew(telegram: BotApi, tmp_path: Path) -> None:
    made = Made(tmp_path)
    asyncio.run(tell(telegram, tmp_path))
    telegram.texts.clear()
    made.fail(made.begin())
    asyncio.run(tell(telegram, tmp_path))
    assert len([line for line in telegram.lines if line.startswith(f"{NAME}:")]) == 2
    assert len(set(telegram.pinned)) == 2


def _child(url: str, out: Path) -> None:
    """A reporter in a process of its own, beside a command that has ended."""
    stop_retrying()
    server = type("Server", (), {"url": url})()
    asyncio.run(tell(server, out))


@pytest.mark.parametrize(("when", "every"), [("before", 1), ("after", 2)])
def test_killed_at_a_message_it_loses_none(telegram: BotApi, tmp_path: Path, drawn: list[Path], when: str, every: int) -> None:
    """Before a message has arrived: none is repeated. Between Telegram's hearing it and its record: that one, and no other."""
    made = Made(tmp_path, drawn=drawn)
    made.complete(made.begin(), 0.5)
    made.lose(made.begin())
    made.drawn = []
    made.prune(made.begin(again_of=1))
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.objective.telegram.test_reporter"])
    victims: list[Any] = []
    seen: set[str] = set()

    def kill(method: str, fields: dict[str, Any]) -> None:
        key = f"{method} {fields.get('text') or fields.get('caption') or fields.get('media')}"
        if method not in SAYS or key in seen:
            return
        seen.add(key)
        if (len(seen) - 1) % every == 0:
            os.kill(victims[-1].pid, signal.SIGKILL)
            raise ConnectionError

    setattr(telegram, when, kill)
    while True:
        victims.append(context.Process(target=_child, args=(telegram.url, tmp_path)))
        victims[-1].start()
        victims[-1].join(30)
        if victims[-1].exitcode == 0:
            break
        assert victims[-1].exitcode == -signal.SIGKILL
    marks = ["▶", "⭐", "t", "t", "💥", "↪", "✂", "⏹"]  # the album and the voice begin with the trial's name
    twice = [mark for place, mark in enumerate(marks) for _ in range(2 if place % every == 0 else 1)]
    assert [line[0] for line in told(telegram)] == (marks if when == "before" else twice)
    assert len(victims) == 1 - (-(len(marks) + 1) // every), "the board is a message, too"


def test_of_two_reporters_one_speaks_and_the_other_takes_over(
    telegram: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objective.telegram.reporter.SETTLE_S", 2.0)  # longer than a write takes
    made = Made(tmp_path)

    async def scenario() -> None:
        async with watching(telegram, tmp_path, chats=(1,)) as first, watching(telegram, tmp_path, chats=(2,)) as second:
            await happens(lambda: telegram.chat)
            made.complete(made.begin(), 0.5)
            await happens(lambda: len(told(telegram)) == 2)
            speaker, other = (first, second) if telegram.chat[0].chat == 1 else (second, first)
            speaker.command.ended.set()
            await happens(other.lease.mine)
            made.complete(made.begin({**POINT, "network.reduction": 3}), 0.4)
            await happens(lambda: len(told(telegram)) == 5)

    asyncio.run(scenario())
    assert [line[0] for line in told(telegram)] == ["▶", "⭐", "⏹", "▶", "⭐", "⏹"]
    chats = [said.chat for said in telegram.chat if not said.text.startswith(f"{NAME}:")]
    assert chats[:3] == [chats[0]] * 3
    assert chats[3:] == [3 - chats[0]] * 3
