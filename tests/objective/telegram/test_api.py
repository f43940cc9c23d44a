"""The client of the Bot API: limits, retries and refusals, against a server with real sockets."""

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
    """The limits are shortened. Chats do not wait for each other."""
    monkeypatch.setattr(api, "SPACING_S", 0.05)
    monkeypatch.setattr(api, "WINDOW_S", 3.0)
    monkeypatch.setattr(api, "GROUP", 5)
    album = Message("album", files=(("a.png", b"1"), ("b.png", b"2")))

    async def talk(bot: Bot) -> None:
        person = [bot.send(1, Message(f"{place}")) for place in range(8)]
        await asyncio.gather(*person, bot.send(-5, album), *(bot.send(-5, Message("group")) for _ in range(5)))

    with_bot(telegram, talk)
    person = [sent.at for sent in telegram.chat if sent.chat == 1]
    assert [sent.text for sent in telegram.chat if sent.chat == 1] == [str(i) for i in range(8)]
    assert all(after - before >= 0.05 for before, after in pairwise(person))
    group = [sent.at for sent in telegram.chat if sent.chat == -5 for _ in range(2 if sent.files else 1)]
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
    assert [sent.text for sent in telegram.chat] in (["one", "two"], ["two", "one"])


def test_an_outage_is_waited_out_and_logged_once(telegram: BotApi) -> None:
    log: list[str] = []
    telegram.script["sendMessage"].extend([RESET, (500, "Internal Server Error", {}), RESET, (502, "Bad Gateway", {})])
    with_bot(telegram, lambda bot: bot.send(1, Message("here")), log)
    assert [sent.text for sent in telegram.chat] == ["here"]
    away = "Telegram does not answer (ServerDisconnectedError): retrying until it does"
    assert log == [away, "Telegram answers again"]


def test_a_request_is_repeated_if_its_answer_takes_too_long(telegram: BotApi) -> None:
    telegram.script["getMe"].append(2.0)
    log: list[str] = []
    assert with_bot(telegram, lambda bot: bot.call("getMe", seconds=1), log)["username"] == "tune_bot"
    assert len(log) == 2


def test_html_that_telegram_cannot_parse_is_sent_as_plain_text(telegram: BotApi) -> None:
    with_bot(telegram, lambda bot: bot.send(1, Message("<b>1 &lt; 2</b> <u>not a tag</u> of theirs")))
    assert [sent.text for sent in telegram.chat] == ["1 < 2 not a tag of theirs"]
    assert "parse_mode" not in telegram.chat[0].fields


def test_an_edit_without_a_change_succeeds_and_one_of_a_deleted_message_is_refused(telegram: BotApi) -> None:
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
def test_texts_and_captions_are_cut_to_telegrams_limits(telegram: BotApi, wide: str) -> None:
    async def talk(bot: Bot) -> None:
        await bot.send(1, Message(f"<b>{wide * 5_000}</b>"))
        await bot.send(1, Message(f"<b>{wide * 5_000}</b>", files=(("curves.png", b"1"),)))

    with_bot(telegram, talk)
    for sent, limit in zip(telegram.chat, (4096, 1024), strict=True):
        assert sent.text.endswith("…")
        assert limit - 1 <= units(sent.text) <= limit


@pytest.mark.parametrize(
    ("code", "description", "final"),
    [
        (401, "Unauthorized", True),
        (403, "Forbidden: bot was kicked from the group chat", True),
        (400, "Bad Request: chat not found", True),
        (400, "Bad Request: IMAGE_PROCESS_FAILED", False),
    ],
)
def test_a_refusal_has_telegrams_reason_and_may_be_final(telegram: BotApi, code: int, description: str, final: bool) -> None:
    telegram.script["sendMessage"].append((code, description, {}))
    with pytest.raises(RequestRefused, match=description) as refused:
        with_bot(telegram, lambda bot: bot.send(1, Message("here")))
    assert refused.value.final is final


def test_the_refusal_of_a_group_that_moved_names_its_new_number(telegram: BotApi) -> None:
    moved = (400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": -1001})
    telegram.script["sendMessage"].append(moved)
    with pytest.raises(RequestRefused, match="its number is now -1001") as refused:
        with_bot(telegram, lambda bot: bot.send(-1, Message("here")))
    assert refused.value.final


def test_a_server_that_is_no_bot_api_is_a_refusal(telegram: BotApi) -> None:
    async def go() -> None:
        async with Bot(TOKEN, f"{telegram.url}/elsewhere", None, print) as bot:
            await bot.call("getMe")

    with pytest.raises(RequestRefused, match="HTTP 404"):
        asyncio.run(go())


def test_the_token_is_in_no_exception_and_in_no_repr(telegram: BotApi) -> None:
    """Not even if a server repeats it, or if no server listens."""
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
