"""Answer HTTP requests with speech: the routes of coqui's, Piper's and OpenAI's servers, a page, health and metrics.

Every error is JSON in OpenAI's form, {"error": {"message": ...}}, whose message is the rule, the value and the way out.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from model.audio import OPUS_HZ, Floats, opus, pcm, resampled, wav
from model.config import Audio
from model.errors import BadInput
from objective.runtime.access import CHALLENGE, HEADERS, refusal
from objective.runtime.cli import FRONT_DOOR
from objective.speech.server import metrics
from objective.speech.server.speaker import QueueFull, Said, Speaker, SpeakingFailed

BODY_S = 10.0  # for the body of a request to arrive
CLOSED = 499  # the code of a request whose client went away, as in nginx
PCM_HZ = OPUS_HZ  # OpenAI's
TYPES = {"wav": "audio/wav", "pcm": "audio/pcm", "opus": "audio/ogg"}
PAGE = files("objective.speech.server") / "page.html"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; media-src blob:"
MARGIN = 4_096  # bytes of a request besides its text
BYTES = 12  # of a character at most: a surrogate pair as JSON escapes it, or four bytes in a URL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Record:
    """The request that a task answers, for its line in the log."""

    text: str | None = None
    said: Said | None = None
    why: str = ""  # it was not said


_RECORD: ContextVar[_Record] = ContextVar("record")


class Refused(Exception):
    """A request that cannot be answered: status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a request, whose token is `token` (None: none is needed)."""

    most_characters: int = 2_000
    timeout_s: float = 120.0
    token: str | None = None
    log_texts: bool = False

    @property
    def bytes(self) -> int:
        """The size of the largest body, and of the longest URL."""
        return BYTES * self.most_characters + MARGIN


class Api:
    """The routes. `name`: of the voice, as /health says it."""

    def __init__(self, speaker: Speaker, name: str, limits: Limits) -> None:
        self.speaker, self.name, self.limits = speaker, name, limits
        self.metrics = metrics.Metrics()

    def app(self) -> web.Application:
        """Return the application, for one event loop."""
        app = web.Application(client_max_size=self.limits.bytes, middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/api/tts", self._coqui, allow_head=False),
                web.post("/", self._piper),
                web.post("/v1/audio/speech", self._openai),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/", self._page),
            ]
        )
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check, answer, count and log a request."""
        began, code, record = time.monotonic(), CLOSED, _Record()
        _RECORD.set(record)
        try:
            response = await self._response(request, handler)
            response.headers.update(HEADERS)
            code = response.status
            return response
        finally:
            resource = request.match_info.route.resource
            path = resource.canonical if resource is not None else "other"
            self.metrics.answered(path, code)
            self._log(f"{request.method} {path} {code}", time.monotonic() - began, record)

    async def _response(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = refusal(request.method, partial(_header, request), self.limits.token)
        if refused is not None:
            return _error(*refused, headers=dict([CHALLENGE]) if refused[0] == 401 else {})
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await handler(request)
        except QueueFull as why:
            return _error(429, str(why), {"Retry-After": str(why.retry_s)})
        except BadInput as why:
            return _error(400, str(why))
        except Refused as why:
            return _error(why.status, str(why))
        except SpeakingFailed as why:
            return _error(500, str(why))
        except TimeoutError:
            limit = f"need an answer within {self.limits.timeout_s:g} s, the server took longer"
            return _error(504, f"{limit}: send a shorter text, or try again later")
        except web.HTTPException as why:
            kept = {"Allow": why.headers["Allow"]} if "Allow" in why.headers else {}
            return _error(why.status, f"need one of the routes of this server, got {request.method}: {why.reason}", kept)

    def _log(self, answer: str, seconds: float, record: _Record) -> None:
        """Print a line for a request that was to be said, and for one that was refused; its text only where that is wanted."""
        text, said = record.text, record.said
        if text is None and not record.why:
            return
        parts = [answer, f"{seconds:.2f} s"]
        if text is not None:
            parts.append(f"{len(text)} characters")
        if said is not None:
            parts += [f"{len(said.wave) / self.speaker.voice.rate_hz:.1f} s of speech", *said.faults]
        if record.why and text is None:  # a sentence about a text may quote it
            parts.append(record.why)
        if text is not None and self.limits.log_texts:
            parts.append(json.dumps(text, ensure_ascii=False))
        print(", ".join(parts), file=sys.stderr, flush=True)

    async def _coqui(self, request: web.Request) -> web.Response:
        if "text" not in request.query:
            raise Refused(400, "need the text, as in /api/tts?text=Hello: add it")
        return await self._speech(request.query["text"])

    async def _piper(self, request: web.Request) -> web.Response:
        """Say the body, or the member `text` of a body in JSON."""
        body = await _body(request)
        if request.content_type != "application/json":
            return await self._speech(body)
        return await self._speech(_member(_json(body), "text"))

    async def _openai(self, request: web.Request) -> web.Response:
        """Say `input`. There is one voice, so `model` and `voice` may be anything."""
        asked = _json(await _body(request))
        form = asked.get("response_format", "wav")
        if not isinstance(form, str) or form not in TYPES:
            raise Refused(400, f"need a response_format of {', '.join(TYPES)}, got {_shown(form)}: choose one of these")
        if asked.get("speed", 1.0) != 1.0:
            raise Refused(400, f"need speed 1.0, the only one, got {_shown(asked['speed'])}: leave it out")
        if asked.get("stream_format", "audio") != "audio":
            raise Refused(400, f"need stream_format audio, the only one, got {_shown(asked['stream_format'])}: leave it out")
        return await self._speech(_member(asked, "input"), form)

    async def _speech(self, text: str, form: str = "wav") -> web.Response:
        most = self.limits.most_characters
        if len(text) > most:
            raise Refused(413, f"need a text of {most:,} characters or fewer, got {len(text):,}: send it in parts")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise Refused(400, "need a text in Unicode, got half of a surrogate pair: encode it as UTF-8")
        began = time.monotonic()
        record = _RECORD.get()
        record.text = text
        said = await self.speaker.say(text)
        body = await asyncio.to_thread(_encoded, said.wave, self.speaker.voice.config.audio, form)
        record.said = said
        self.metrics.spoke(len(text), time.monotonic() - began)
        return web.Response(body=body, content_type=TYPES[form])

    async def _health(self, _: web.Request) -> web.Response:
        known = {"ready": True, "voice": self.name, "language": self.speaker.voice.language.code}
        limits = {"rate_hz": self.speaker.voice.rate_hz, "most_characters": self.limits.most_characters}
        return web.json_response({**known, "version": version(FRONT_DOOR), **limits})

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.text(self.speaker)
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY}
        return web.Response(text=PAGE.read_text(encoding="utf-8"), content_type="text/html", headers=headers)


def _header(request: web.Request, name: str) -> str | None:
    """Return a header decoded as Latin-1; aiohttp decodes UTF-8."""
    value = request.headers.get(name)
    return None if value is None else value.encode("utf-8", "surrogateescape").decode("latin-1")


async def _body(request: web.Request) -> str:
    try:
        async with asyncio.timeout(BODY_S):
            return (await request.read()).decode("utf-8-sig")
    except TimeoutError:
        raise Refused(408, f"need the body within {BODY_S:g} s, it is not complete: send it faster") from None
    except web.HTTPRequestEntityTooLarge as why:
        raise Refused(413, "need a smaller body, got one that holds more than the longest text: send it in parts") from why
    except UnicodeDecodeError as why:
        raise Refused(400, f"need a body in UTF-8, got other bytes at {why.start}: convert it") from why
    except (HttpProcessingError, web.RequestPayloadError) as why:
        raise Refused(400, "need a body as its headers announce it, got another: send it again") from why


def _json(body: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as why:
        raise Refused(400, f"need a body in JSON, got another ({type(why).__name__}): check it") from why
    if not isinstance(found, dict):
        raise Refused(400, f"need a JSON object, got {_shown(found)}: send one with the text")
    return found


def _member(asked: Mapping[str, Any], name: str) -> str:
    if not isinstance(text := asked.get(name), str):
        raise Refused(400, f"need a string {name}, got {_shown(text)}: send the text as that")
    return text


def _shown(value: object) -> str:
    return json.dumps(value)[:40]


def _encoded(wave: Floats, audio: Audio, form: str) -> bytes:
    if form == "opus":
        return opus(wave, audio)
    return wav(wave, audio) if form == "wav" else pcm(resampled(wave, audio, PCM_HZ))


def _error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    found = {"message": sentence, "type": kind, "code": status}
    _RECORD.get().why = sentence
    return web.json_response({"error": found}, status=status, headers=headers)
