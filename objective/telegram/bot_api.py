"""A client of Telegram's Bot API over aiohttp that keeps its limits and retries what an outage interrupts.

The token is part of every address. No exception of the HTTP client leaves this file, because all of them hold the address.
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

TEXT, CAPTION = 4096, 1024  # limits of a message and of a caption, in UTF-16 units
SPACING_S = 1.0  # between two messages to one chat
WINDOW_S, GROUP = 60.0, 20  # at most so many messages to a group within any such window
ANSWER_S, UPLOAD_S = 60.0, 300.0  # timeouts
FIRST_S, LONGEST_S = 1.0, 60.0  # between two attempts, doubling


class RequestRefused(Exception):
    """Telegram refuses a request and would refuse it again."""

    def __init__(self, method: str, code: int, description: str) -> None:
        super().__init__(f"Telegram refused {method}: {description} ({code})")
        self.code, self.description = code, description

    @property
    def final(self) -> bool:
        """True where every further message would be refused: the token or the chat is unknown, or the bot is blocked."""
        return self.code in (401, 403, 404) or "chat not found" in self.description or "upgraded" in self.description

    @property
    def too_long(self) -> bool:
        return "too long" in self.description


@dataclass(frozen=True, slots=True)
class Message:
    """HTML alone, or as the caption of up to ten pictures or of one sound (Ogg Opus)."""

    text: str
    loud: bool = False  # phones ring
    files: tuple[tuple[str, bytes], ...] = ()  # by name
    buttons: tuple[tuple[str, str], ...] = ()  # label and command
    name: str = "text"  # which part of an event it is


class Bot:
    """A bot and its connection; a context manager. `log` receives, once each, the sentences a person should read."""

    def __init__(self, token: str, base: str, proxy: str | None, log: Callable[[str], None]) -> None:
        # The token is kept in closures, which nothing prints.
        self._address: Callable[[str], str] = lambda method: f"{base}/bot{token}/{method}"
        self._masked: Callable[[str], str] = lambda text: text.replace(token, "***")
        self._proxy, self.log = proxy, log
        self._session: aiohttp.ClientSession | None = None
        self.mark = ""  # appended to a button's command: the study that the button belongs to
        self._quiet_until, self._away = 0.0, False
        self._pace = _Pace()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, chat: int, message: Message, topic: int | None = None) -> int:
        """Send a message and return its number. Raises RequestRefused."""
        fields = {"chat_id": chat, "disable_notification": not message.loud, "message_thread_id": topic}
        async with self._pace.turn(chat, max(1, len(message.files))):
            result = await self._deliver(message, fields)
        return int((result[0] if isinstance(result, list) else result)["message_id"])

    async def edit(self, chat: int, number: int, message: Message) -> None:
        """Replace the text of a message. Raises RequestRefused, also if the message has been deleted."""
        async with self._pace.turn(chat, 1):
            await self._deliver(message, {"chat_id": chat, "message_id": number}, "editMessageText")

    async def call(
        self, method: str, files: Mapping[str, bytes] | None = None, seconds: float = ANSWER_S, **fields: Any
    ) -> Any:
        """Call a method, as often as it takes to get an answer, and return its result. Raises RequestRefused."""
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
            description, details = self._masked(str(answer.get("description", ""))), answer.get("parameters", {})
            if code == 429:
                self._quiet_until = time.monotonic() + float(details.get("retry_after", wait))
            elif "message is not modified" in description:
                return None
            else:
                moved = f": its number is now {details['migrate_to_chat_id']}" if "migrate_to_chat_id" in details else ""
                raise RequestRefused(method, code, description + moved)

    async def _deliver(self, message: Message, fields: dict[str, Any], edit_method: str | None = None) -> Any:
        """Send or edit a message, as HTML, or as plain text if Telegram cannot parse that."""
        html = True
        while True:
            method, content, files = _request(message, html, self.mark)
            try:
                return await self.call(edit_method or method, files, UPLOAD_S if files else ANSWER_S, **content, **fields)
            except RequestRefused as why:
                if not html or why.code != 400 or "parse" not in why.description:
                    raise
            html = False

    async def _post(
        self, method: str, fields: dict[str, Any], files: Mapping[str, bytes], seconds: float
    ) -> dict[str, Any] | str:
        """Return the decoded answer, or a word that says why there is none."""
        assert self._session is not None
        form = aiohttp.FormData() if files else None
        if form is not None:
            for name, value in fields.items():
                form.add_field(name, value if isinstance(value, str) else json.dumps(value))
            for name, content in files.items():
                form.add_field(name, content, filename=name)
        timeout = aiohttp.ClientTimeout(total=seconds)
        body: dict[str, Any] = {"json": fields} if form is None else {"data": form}
        try:
            async with self._session.post(
                self._address(method), **body, proxy=self._proxy, timeout=timeout, allow_redirects=False
            ) as response:
                status, text = response.status, await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as why:
            return type(why).__name__
        with suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict) and "ok" in answer:
                return answer
        refused = 400 <= status < 500  # by a proxy, or by a server that is no Bot API
        return {"ok": False, "error_code": status, "description": f"HTTP {status}"} if refused else f"HTTP {status}"

    def _note_away(self, what: str) -> None:
        if not self._away:
            self.log(f"Telegram does not answer ({what}): retrying until it does")
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            self.log("Telegram answers again")
        self._away = False


class _Pace:
    """Telegram's limits per chat: one message a second, and GROUP messages per WINDOW_S to a group."""

    def __init__(self) -> None:
        self._sent: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=GROUP))
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def turn(self, chat: int, count: int) -> AsyncIterator[None]:
        """Wait until `count` messages may be sent; held until they are answered, so that messages stay in order."""
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
    """Return the method for a message, its fields and its files."""

    text = message.text.encode("utf-8", "replace").decode()  # a file name may hold bytes that are no text

    def limited(limit: int) -> str:
        return cut(text, limit) if html else plain(cut(text, limit))

    mode = {"parse_mode": "HTML"} if html else {}
    caption = {"caption": limited(CAPTION), **mode}
    if len(message.files) > 1:
        media = [{"type": "photo", "media": f"attach://{name}"} for name, _ in message.files]
        return "sendMediaGroup", {"media": [{**media[0], **caption}, *media[1:]]}, dict(message.files)
    for name, content in message.files:
        kind = "voice" if name.endswith(".ogg") else "photo"
        return f"send{kind.title()}", caption, {kind: content}
    keys = [{"text": label, "callback_data": f"{command} {mark}".rstrip()} for label, command in message.buttons]
    extras = {"reply_markup": {"inline_keyboard": [keys] if keys else []}, "link_preview_options": {"is_disabled": True}}
    return "sendMessage", {"text": limited(TEXT), **mode, **extras}, {}
