"""Telegram's Bot API over aiohttp: its limits kept, its answers understood, what is down tried again until it is up.

The token is part of every address. No exception of the HTTP client leaves this file, because all of them know the address.
"""

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from objective.telegram.markup import cut, plain

TEXT, CAPTION = 4096, 1024  # units that a message and a caption may have
SPACING_S = 1.0  # between two messages to one chat
WINDOW_S, GROUP = 60.0, 20  # in any such window, so many messages to a group
ANSWER_S, UPLOAD_S = 60.0, 300.0  # that Telegram has for an answer
FIRST_S, LONGEST_S = 1.0, 60.0  # between two attempts, doubling


class RequestRefused(Exception):
    """Telegram says no, and would do so again."""

    def __init__(self, method: str, code: int, said: str) -> None:
        super().__init__(f"Telegram refused {method}: {said} ({code})")
        self.code, self.said = code, said

    @property
    def final(self) -> bool:
        """Whether nothing more can be said: the token is unknown, or the chat is, or it does not want this bot."""
        return self.code in (401, 403, 404) or "chat not found" in self.said or "upgraded" in self.said

    @property
    def too_long(self) -> bool:
        return "too long" in self.said


@dataclass(frozen=True, slots=True)
class Message:
    """What is said in one piece: HTML, or up to ten pictures or one sound (Ogg Opus) with HTML below."""

    text: str
    loud: bool = False  # telephones ring
    files: tuple[tuple[str, bytes], ...] = ()  # by name
    buttons: tuple[tuple[str, str], ...] = ()  # what stands on each, and the command that it is
    name: str = "text"  # which part of an event it is


class Bot:
    """A context manager. `log` is told, once, what a person should know."""

    def __init__(self, token: str, base: str, proxy: str | None, log: Callable[[str], None]) -> None:
        # The token is held by functions, which nothing prints.
        self._address: Callable[[str], str] = lambda method: f"{base}/bot{token}/{method}"
        self._masked: Callable[[str], str] = lambda text: text.replace(token, "***")
        self._proxy, self.log = proxy, log
        self._session: aiohttp.ClientSession | None = None
        self.mark = ""  # that a button carries beside its command: whose it is
        self._quiet_until, self._away = 0.0, False
        self._pace = _Pace()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, chat: int, message: Message, topic: int | None = None) -> int:
        """Says it, and returns the number of the message. Raises RequestRefused."""
        about = {"chat_id": chat, "disable_notification": not message.loud, "message_thread_id": topic}
        async with self._pace.turn(chat, max(1, len(message.files))):
            result = await self._said(message, about)
        return int((result[0] if isinstance(result, list) else result)["message_id"])

    async def edit(self, chat: int, number: int, message: Message) -> None:
        """Replaces the text of a message. Raises RequestRefused, also where it was deleted."""
        about = {"chat_id": chat, "message_id": number}
        async with self._pace.turn(chat, 1):
            await self._said(message, about, "editMessageText")

    async def call(
        self, method: str, files: Mapping[str, bytes] | None = None, seconds: float = ANSWER_S, **fields: Any
    ) -> Any:
        """The result of a method, after as many attempts as it takes. Raises RequestRefused."""
        fields, wait = {name: value for name, value in fields.items() if value is not None}, FIRST_S
        while True:
            while (left := self._quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(left)
            answer = await self._post(method, fields, files or {}, seconds)
            code = 0 if isinstance(answer, str) else answer.get("error_code", 200)
            if isinstance(answer, str) or code >= 500:
                self._note_away(answer if isinstance(answer, str) else f"HTTP {code}")
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_S)
                continue
            self._note_back()
            if answer["ok"]:
                return answer.get("result")
            said, more = self._masked(str(answer.get("description", ""))), answer.get("parameters", {})
            if code == 429:
                self._quiet_until = time.monotonic() + float(more.get("retry_after", wait))
            elif "message is not modified" in said:
                return None
            else:
                moved = f": its number is {more['migrate_to_chat_id']} now" if "migrate_to_chat_id" in more else ""
                raise RequestRefused(method, code, said + moved)

    async def _said(self, message: Message, about: dict[str, Any], instead: str | None = None) -> Any:
        """As HTML, or plain where Telegram cannot read that; by its own method, or by the one to be used `instead`."""
        html = True
        while True:
            method, fields, files = _request(message, html, self.mark)
            try:
                return await self.call(instead or method, files, UPLOAD_S if files else ANSWER_S, **fields, **about)
            except RequestRefused as why:
                if not html or why.code != 400 or "parse" not in why.said:
                    raise
            html = False

    async def _post(
        self, method: str, fields: dict[str, Any], files: Mapping[str, bytes], seconds: float
    ) -> dict[str, Any] | str:
        """What was answered, or in a word why nothing was."""
        assert self._session is not None
        form = aiohttp.FormData() if files else None
        if form is not None:
            for name, value in fields.items():
                form.add_field(name, value if isinstance(value, str) else json.dumps(value))
            for name, content in files.items():
                form.add_field(name, content, filename=name)
        timeout = aiohttp.ClientTimeout(total=seconds)
        sent: dict[str, Any] = {"json": fields} if form is None else {"data": form}
        try:
            async with self._session.post(
                self._address(method), **sent, proxy=self._proxy, timeout=timeout, allow_redirects=False
            ) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as why:
            return type(why).__name__
        with suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict) and "ok" in answer:
                return answer
        refused = 400 <= status < 500  # by a server before Telegram's, or by one that is none
        return {"ok": False, "error_code": status, "description": f"HTTP {status}"} if refused else f"HTTP {status}"

    def _note_away(self, what: str) -> None:
        if not self._away:
            self.log(f"Telegram does not answer ({what}): it is tried again until it does")
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            self.log("Telegram answers again")
        self._away = False


class _Pace:
    """Whose turn it is in a chat: one message a second, and to a group no more than its limit in a minute."""

    def __init__(self) -> None:
        self._sent: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=GROUP))
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def turn(self, chat: int, count: int) -> AsyncIterator[None]:
        """Held until the answer is there, so that messages stay in order; `count` of them are said in it."""
        sent = self._sent[chat]
        async with self._turns[chat]:
            if sent:
                await asyncio.sleep(sent[-1] + SPACING_S - time.monotonic())
            if chat < 0 and len(sent) + count > GROUP:
                await asyncio.sleep(sent[len(sent) + count - GROUP - 1] + WINDOW_S - time.monotonic())
            try:
                yield
            finally:
                sent.extend([time.monotonic()] * count)


def _request(message: Message, html: bool, mark: str) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """The method for a message, its fields and its files."""

    text = message.text.encode("utf-8", "replace").decode()  # half a character, of a file name that is no text, is none here

    def written(limit: int) -> str:
        return cut(text, limit) if html else plain(cut(text, limit))

    mode = {"parse_mode": "HTML"} if html else {}
    caption = {"caption": written(CAPTION), **mode}
    if len(message.files) > 1:
        media = [{"type": "photo", "media": f"attach://{name}"} for name, _ in message.files]
        return "sendMediaGroup", {"media": [{**media[0], **caption}, *media[1:]]}, dict(message.files)
    for name, content in message.files:
        kind = "voice" if name.endswith(".ogg") else "photo"
        return f"send{kind.title()}", caption, {kind: content}
    keys = [{"text": label, "callback_data": f"{command} {mark}".rstrip()} for label, command in message.buttons]
    extras = {"reply_markup": {"inline_keyboard": [keys] if keys else []}, "link_preview_options": {"is_disabled": True}}
    return "sendMessage", {"text": written(TEXT), **mode, **extras}, {}
