"""A Bot API server for tests, on a loopback socket: it enforces Telegram's rules and plays scripted faults."""

import asyncio
import json
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Self

from aiohttp import web

TOKEN = "7000001:AAtoken-that_nobody_may_see"
TAGS = ("b", "i", "pre", "code")
SENDING = ("sendMessage", "sendPhoto", "sendMediaGroup", "sendVoice")  # methods that add to a chat
RESET, SLOW = "reset", 0.3  # a scripted number delays the answer by so many seconds

Answer = tuple[int, str, dict[str, Any]]  # code, description, parameters


@dataclass(slots=True)
class Sent:
    """A message in a chat."""

    number: int
    chat: int
    method: str
    text: str  # without its tags
    fields: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    at: float = 0.0


class BotApi:
    """A context manager. `script[method]` holds answers to give before the real one.

    `before` is called when a request arrives, `after` when it has been executed and not yet answered; a ConnectionError from
    either of them resets the connection.
    """

    def __init__(self) -> None:
        self.script: dict[str, deque[Answer | str | float]] = defaultdict(deque)
        self.before: Callable[[str, dict[str, Any]], None] = lambda method, fields: None
        self.after = self.before
        self.chat: list[Sent] = []  # everything sent, in order
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.updates: list[dict[str, Any]] = []
        self.offset = 0
        self.violations: list[str] = []  # of Telegram's rules
        self.texts: dict[int, str] = {}  # of the messages as last edited, by number
        self.pinned: list[int] = []
        self._received = 0
        self._methods = {"getMe": self._get_me, "getUpdates": self._get_updates}
        self._methods |= {"pinChatMessage": self._pin, "editMessageText": self._edit}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def lines(self) -> list[str]:
        """The first line of each message."""
        return [sent.text.partition("\n")[0] for sent in self.chat]

    def receive(self, text: str, chat: int = 1, press: bool = False, **more: Any) -> None:
        """Let a person type a command, or press a button."""
        self._received += 1
        where = {"chat": {"id": chat}, "message_id": 1, **more}
        pressed = {"callback_query": {"id": "press", "data": text, "message": where}}
        self.updates.append({"update_id": self._received, **(pressed if press else {"message": {**where, "text": text}})})

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/bot{token}/{method}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._end.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method, (fields, files) = request.match_info["method"], await _read(request)
        self.calls.append((time.monotonic(), method, fields))
        if request.match_info["token"] != TOKEN:
            return _refused(401, "Unauthorized")
        try:
            return await self._execute(request, method, fields, files)
        except ConnectionError:
            return _reset(request)

    async def _execute(
        self, request: web.Request, method: str, fields: dict[str, Any], files: dict[str, bytes]
    ) -> web.StreamResponse:
        self.before(method, fields)
        if self.script[method]:
            planned = self.script[method].popleft()
            if planned == RESET:
                return _reset(request)
            if isinstance(planned, float):
                await asyncio.sleep(planned)
            else:
                return _refused(*planned)
        known = self._methods.get(method)
        result = await known(fields) if known else self._send(method, fields, files) if method in SENDING else True
        self.after(method, fields)
        return _refused(*result) if isinstance(result, tuple) else web.json_response({"ok": True, "result": result})

    async def _get_me(self, fields: dict[str, Any]) -> Any:
        return {"id": 7000001, "is_bot": True, "username": "tune_bot"}

    async def _get_updates(self, fields: dict[str, Any]) -> Any:
        if fields["offset"] < 0:
            return self.updates[fields["offset"] :]
        self.offset = max(self.offset, fields["offset"])
        for _ in range(int(fields["timeout"] * 20)):
            if waiting := [update for update in self.updates if update["update_id"] >= fields["offset"]]:
                return waiting
            await asyncio.sleep(0.05)
        return []

    async def _pin(self, fields: dict[str, Any]) -> Any:
        self.pinned.append(fields["message_id"])
        return True

    async def _edit(self, fields: dict[str, Any]) -> Any:
        if fields["message_id"] not in self.texts:
            return 400, "Bad Request: message to edit not found", {}
        if fields["text"] == self.texts[fields["message_id"]]:
            return 400, "Bad Request: message is not modified", {}
        text = self._checked(fields, "text", 4096)
        if isinstance(text, tuple):
            return text
        self.texts[fields["message_id"]] = fields["text"]
        return {"message_id": fields["message_id"]}

    def _send(self, method: str, fields: dict[str, Any], files: dict[str, bytes]) -> Any:
        group = json.loads(fields["media"]) if method == "sendMediaGroup" else []
        if group:
            text = self._checked(group[0], "caption", 1024)
            if not 2 <= len(group) <= 10 or any(it["media"].removeprefix("attach://") not in files for it in group):
                return 400, "Bad Request: wrong number of files", {}
        else:
            text = self._checked(fields, "text", 4096) if method == "sendMessage" else self._checked(fields, "caption", 1024)
        if isinstance(text, tuple):
            return text
        sent = Sent(len(self.chat) + 1, int(fields["chat_id"]), method, text, fields, files, time.monotonic())
        self.chat.append(sent)
        self.texts[sent.number] = fields.get("text", "")
        return [{"message_id": sent.number}] * len(group) if group else {"message_id": sent.number}

    def _checked(self, fields: dict[str, Any], name: str, limit: int) -> str | Answer:
        """Return the text without its tags, or the refusal."""
        text: str = fields[name]
        if fields.get("parse_mode") == "HTML":
            open_tags: list[str] = []
            for end, tag in re.findall(r"<(/?)([^>]*)>", text):
                if tag not in TAGS or (end and (not open_tags or open_tags.pop() != tag)):
                    return 400, f"Bad Request: can't parse entities: tag {tag!r}", {}
                open_tags += [] if end else [tag]
            text = re.sub(r"</?\w+>", "", text)
            if open_tags or "<" in text or re.search(r"&(?!(amp|lt|gt|quot);)", text):
                return 400, "Bad Request: can't parse entities", {}
            text = unescape(text)
        if not text.strip() or len(text.encode("utf-16-le")) // 2 > limit:
            self.violations.append(f"{len(text)} characters of {limit}")
            return 400, "Bad Request: message is too long", {}
        return text


async def _read(request: web.Request) -> tuple[dict[str, Any], dict[str, bytes]]:
    if request.content_type == "application/json":
        return await request.json(), {}
    form = await request.post()
    files = {name: value.file.read() for name, value in form.items() if isinstance(value, web.FileField)}
    return {name: value for name, value in form.items() if isinstance(value, str)}, files


def _refused(code: int, sent: str, more: dict[str, Any] | None = None) -> web.Response:
    return web.json_response({"ok": False, "error_code": code, "description": sent, "parameters": more or {}}, status=code)


def _reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
