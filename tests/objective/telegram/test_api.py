"""The client of the Bot API: limits, retries, and what it makes of answers, against a server with real sockets."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from objective.telegram import bot_api as api
from objective.telegram.bot_api import Bot, Message, RequestRefused
from objective.telegram.markup import units
from tests.objective.telegram.server import RESET, TOKEN, BotApi
from tests.processes import happens


def with_bot(telegram: BotApi, talk: Callable[[Bot], Awaitable[Any]], log: list[str] | None = None) -> Any:
    async def go() -> Any:
        async with Bot(TOKEN, telegram.url, None, [].append if log is None else log.append) as bot:
            return await asyncio.wait_for(talk(bot), 60)

    return asyncio.run(go())


def test_one_message_a_second_to_a_chat_and_twenty_a_minute_to_a_group(
    telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In less time; chats do not wait for each other."""
    monkeypatch.setattr(api, "SPACING_S", 0.05)
    monkeypatch.setattr(api, "WINDOW_S", 3.0)
    monkeypatch.setattr(api, "GROUP", 5)
    album = Message("album", files=(("a.png", b"1"), ("b.png", b"2")))

    async def talk(bot: Bot) -> None:
        person = [bot.send(1, Message(f"{place}")) for place in range(8)]
        await asyncio.gather(*person, bot.send(-5, album), *(bot.send(-5, Message("group")) for _ in range(5)))

    with_bot(telegram, talk)
    person = [said.at for said in telegram.chat if said.chat == 1]
    assert [said.text for said in telegram.chat if said.chat == 1] == [str(i) for i in range(8)]
    assert all(after - before >= 0.05 for before, after in pairwise(person))
    group = [said.at for said in telegram.chat if said.chat == -5 for _ in range(2 if said.files else 1)]
    assert len(group) == 7
    assert all(after - before >= 3.0 for before, after in zip(group, group[5:], strict=False))
    assert person[-1] < group[5]


def test_retry_after_holds_every_call(telegram: BotApi) -> None:
    telegram.script["sendMessage"].append((429, "Too Many Requests", {"retry_after": 0.3}))

    async def talk(bot: Bot) -> None:
        first = asyncio.create_task(bot.send(1, Message("one")))
        await happens(lambda: bot._quiet_until > 0)
        await asyncio.gather(first, bot.call("getMe"), bot.send(2, Message("two")))

    with_bot(telegram, talk)
    first, *later = [at for at, _, _ in telegram.calls]
    assert len(later) == 3
    assert min(later) - first >= 0.3
    assert [said.text for said in telegram.chat] in (["one", "two"], ["two", "one"])


def test_an_outage_is_waited_for_and_said_once(telegram: BotApi) -> None:
    log: list[str] = []
    telegram.script["sendMessage"].extend([RESET, (500, "Internal Server Error", {}), RESET, (502, "Bad Gateway", {})])
    with_bot(telegram, lambda bot: bot.send(1, Message("here")), log)
    assert [said.text for said in telegram.chat] == ["here"]
    away = "Telegram does not answer (ServerDisconnectedError): it is tried again until it does"
    assert log == [away, "Telegram answers again"]


def test_an_answer_that_takes_too_long_is_asked_for_again(telegram: BotApi) -> None:
    telegram.script["getMe"].append(2.0)
    log: list[str] = []
    assert with_bot(telegram, lambda bot: bot.call("getMe", seconds=1), log)["username"] == "tune_bot"
    assert len(log) == 2


def test_what_cannot_be_parsed_is_said_plain(telegram: BotApi) -> None:
    with_bot(telegram, lambda bot: bot.send(1, Message("<b>1 &lt; 2</b> <u>not a tag</u> of theirs")))
    assert [said.text for said in telegram.chat] == ["1 < 2 not a tag of theirs"]
    assert "parse_mode" not in telegram.chat[0].fields


def test_an_edit_that_changes_nothing_is_well_and_one_of_a_deleted_message_is_not(telegram: BotApi) -> None:
    async def talk(bot: Bot) -> None:
        number = await bot.send(1, Message("as it is"))
        await bot.edit(1, number, Message("as it is"))
        await bot.edit(1, number, Message("as it was"))
        with pytest.raises(RequestRefused, match="message to edit not found") as refused:
            await bot.edit(1, 77, Message("nothing"))
        assert not refused.value.final

    with_bot(telegram, talk)
    assert telegram.texts == {1: "as it was"}


@pytest.mark.parametrize("wide", ["a", "ж", "🚩"])
def test_texts_and_captions_are_cut_to_what_telegram_takes(telegram: BotApi, wide: str) -> None:
    async def talk(bot: Bot) -> None:
        await bot.send(1, Message(f"<b>{wide * 5_000}</b>"))
        await bot.send(1, Message(f"<b>{wide * 5_000}</b>", files=(("curves.png", b"1"),)))

    with_bot(telegram, talk)
    for said, limit in zip(telegram.chat, (4096, 1024), strict=True):
        assert said.text.endswith("…")
        assert limit - 1 <= units(said.text) <= limit


@pytest.mark.parametrize(
    ("code", "said", "final"),
    [
        (401, "Unauthorized", True),
        (403, "Forbidden: bot was kicked from the group chat", True),
        (400, "Bad Request: chat not found", True),
        (400, "Bad Request: IMAGE_PROCESS_FAILED", False),
    ],
)
def test_what_is_refused_says_so(telegram: BotApi, code: int, said: str, final: bool) -> None:
    telegram.script["sendMessage"].append((code, said, {}))
    with pytest.raises(RequestRefused, match=said) as refused:
        with_bot(telegram, lambda bot: bot.send(1, Message("here")))
    assert refused.value.final is final


def test_a_group_that_moved_says_where_to(telegram: BotApi) -> None:
    moved = (400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": -1001})
    telegram.script["sendMessage"].append(moved)
    with pytest.raises(RequestRefused, match="its number is -1001 now") as refused:
        with_bot(telegram, lambda bot: bot.send(-1, Message("here")))
    assert refused.value.final


def test_another_server_is_no_telegram(telegram: BotApi) -> None:
    async def go() -> None:
        async with Bot(TOKEN, f"{telegram.url}/elsewhere", None, print) as bot:
            await bot.call("getMe")

    with pytest.raises(RequestRefused, match="HTTP 404"):
        asyncio.run(go())


def test_the_token_is_in_no_exception_and_in_no_repr(telegram: BotApi) -> None:
    """Also where a server repeats it, and where nobody listens."""
    secret = TOKEN.partition(":")[2]
    telegram.script["getMe"].append((400, f"no such path: /bot{TOKEN}/getMe", {}))
    log: list[str] = []

    async def talk(bot: Bot) -> None:
        assert secret not in f"{bot!r} {vars(bot)}"
        try:
            await bot.call("getMe")
        except RequestRefused as why:
            log.append("".join(traceback.format_exception(why, chain=True)))
            log.append(f"{why.__context__} {why.__cause__} {vars(why)}")
        async with Bot(TOKEN, "http://127.0.0.1:1", "http://user:pass@127.0.0.1:2", log.append) as nobody:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(nobody.call("getMe"), 0.2)
        async with Bot(TOKEN, "http://[::bad", None, log.append) as wrong:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wrong.call("getMe"), 0.1)

    with_bot(telegram, talk, log)
    assert len(log) == 4
    assert "no such path: /bot***/getMe" in log[0]
    assert secret not in " ".join(log)
