"""The server of a voice answers in the forms of others' servers, and every mistake with a sentence."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from model.audio import decode, wav
from objective.speech.server.api import PCM_HZ, Limits
from tests.objective.asking import ask
from tests.objective.speech.serving import TEXT, Served, served


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as it:
        yield it


def test_every_form_of_request_gets_the_same_sound(server: Served) -> None:
    wave, _ = server.voice.speak(TEXT, server.vocoder, tries=1)
    expected = (200, "audio/wav", wav(wave, server.voice.config.audio))
    answers = [
        ask(server.port, path=f"/api/tts?text={quote(TEXT)}"),
        server.speech(),
        ask(server.port, "POST", "/", json.dumps({"text": TEXT}), Content_Type="application/json"),
        ask(server.port, "POST", "/", TEXT, Content_Type="application/x-www-form-urlencoded"),  # curl's
        server.openai(input=TEXT),
        server.openai(input=TEXT, response_format="wav", speed=1, instructions="sadly"),
    ]
    assert [(status, headers["content-type"], body) for status, headers, body in answers] == [expected] * len(answers)


def test_pcm_and_opus_hold_the_same_sound(server: Served) -> None:
    wave, rate_hz = server.voice.speak(TEXT, server.vocoder, tries=1)
    status, headers, body = server.openai(input=TEXT, response_format="pcm")
    assert (status, headers["content-type"]) == (200, "audio/pcm")
    assert len(body) / 2 / PCM_HZ == pytest.approx(len(wave) / rate_hz, abs=1e-3)
    assert np.abs(np.frombuffer(body, "<i2")).max() > 1000
    status, headers, body = server.openai(input=TEXT, response_format="opus")
    assert (status, headers["content-type"]) == (200, "audio/ogg")
    decoded, source = decode(body, server.voice.config.audio)
    assert len(decoded) / rate_hz == pytest.approx(len(wave) / rate_hz, abs=0.1)
    assert source.channels == 1


def test_health_says_which_voice_is_ready(server: Served) -> None:
    status, _, body = ask(server.port, path="/health")
    known = json.loads(body)
    assert (status, known["ready"], known["voice"], known["language"]) == (200, True, "tiny", "en")
    assert known["version"]


def test_the_page_loads_nothing_from_elsewhere(server: Served) -> None:
    status, headers, body = ask(server.port)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert not [link for link in (b"http:", b"https:", b"src=") if link in body]


def test_metrics_count_what_was_answered() -> None:
    with served() as server:
        server.speech()
        server.speech("")
        assert server.metric('requests_total{path="/",code="200"}') == 1
        assert server.metric('requests_total{path="/",code="400"}') == 1
        assert server.metric("characters_total") == len(TEXT)
        assert server.metric("request_seconds_count") == server.metric('request_seconds_bucket{le="+Inf"}') == 1
        assert server.metric("queue_length") == 0
        assert server.metric("real_time_factor") == pytest.approx(
            server.metric("busy_seconds_total") / server.metric("speech_seconds_total"), rel=1e-6
        )


JSON = {"Content_Type": "application/json"}
SPEECH = ("POST", "/v1/audio/speech")
MISTAKES: dict[str, tuple[str, str, Any, dict[str, str], int, str]] = {
    "no text": ("GET", "/api/tts", None, {}, 400, "need the text, as in /api/tts?text=Hello"),
    "an empty text": ("GET", "/api/tts?text=", None, {}, 400, "need a text with something to say"),
    "an empty body": ("POST", "/", b"", {}, 400, "need a text with something to say"),
    "emoji alone": ("POST", "/", "😀" * 1000, {}, 400, "need a text with something to say"),
    "null bytes": ("POST", "/", b"\0" * 1000, {}, 400, "need a text with something to say"),
    "another encoding": ("POST", "/", "Grüße".encode("latin-1"), {}, 400, "need a body in UTF-8, got other bytes at 2"),
    "too long": ("POST", "/", "a " * 1001, {}, 413, "need a text of 2,000 characters or fewer, got 2,002"),
    "a large body": ("POST", "/", b"a" * 10**6, {}, 413, "need a smaller body"),
    "an endless word": ("POST", "/", "9" * 2000, {}, 400, "need words and numbers that are read in 1,000 letters or fewer"),
    "no JSON": (*SPEECH, b"{", JSON, 400, "need a body in JSON"),
    "deep JSON": (*SPEECH, b"[" * 20_000, JSON, 400, "need a body in JSON"),
    "no object": (*SPEECH, b"[1]", JSON, 400, "need a JSON object, got [1]"),
    "no input": (*SPEECH, b"{}", JSON, 400, "need a string input, got null"),
    "a number": (*SPEECH, b'{"input": 3}', JSON, 400, "need a string input, got 3"),
    "half a pair": (*SPEECH, b'{"input": "\\ud83d"}', JSON, 400, "half of a surrogate pair"),
    "mp3": (*SPEECH, b'{"input": "a", "response_format": "mp3"}', JSON, 400, 'response_format of wav, pcm, opus, got "mp3"'),
    "a list of forms": (*SPEECH, b'{"input": "a", "response_format": ["wav"]}', JSON, 400, "response_format of wav"),
    "speed": (*SPEECH, b'{"input": "a", "speed": 2}', JSON, 400, "need speed 1.0, the only one, got 2"),
    "a stream": (*SPEECH, b'{"input": "a", "stream_format": "sse"}', JSON, 400, "need stream_format audio"),
    "no route": ("GET", "/nothing", None, {}, 404, "need one of the routes"),
    "another method": ("DELETE", "/health", None, {}, 405, "got DELETE"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_answered_with_a_sentence(server: Served, case: str) -> None:
    method, path, body, headers, status, sentence = MISTAKES[case]
    body = body.encode() if isinstance(body, str) else body
    answer, given, told = ask(server.port, method, path, body, **headers)
    error = json.loads(told)["error"]
    assert (answer, error["code"]) == (status, status)
    assert sentence in error["message"]
    assert ("allow" in given) == (status == 405)
    assert server.speech()[0] == 200


def test_the_longest_text_is_said_in_every_form(server: Served) -> None:
    text = ("été " * 500).strip() + "."
    assert len(text) == 2000
    assert ask(server.port, path=f"/api/tts?text={quote(text)}")[0] == 200
    assert server.openai(input=text)[0] == 200  # as \u00e9 in JSON


def test_with_a_token_every_route_needs_it() -> None:
    token = "a long enough tökén"
    with served(limits=Limits(token=token)) as server:
        for method, path in (("GET", "/"), ("GET", "/health"), ("GET", "/metrics"), ("GET", "/nothing"), ("POST", "/")):
            status, headers, body = ask(server.port, method, path, Host="any.example")
            assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
            assert "need the token" in json.loads(body)["error"]["message"]
        right = {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
        assert server.speech(Host="any.example", **right)[0] == 200
        assert server.speech(Origin="http://evil.example", **right)[0] == 403


def test_without_a_token_other_names_and_pages_get_nothing(server: Served) -> None:
    assert server.speech(Host="evil.example")[0] == 403
    assert server.speech(Origin="http://evil.example")[0] == 403
    assert server.speech(Sec_Fetch_Site="cross-site")[0] == 403
    assert server.speech(Sec_Fetch_Site="same-origin")[0] == 200
    assert server.speech(Authorization="Bearer any-key")[0] == 200, "OpenAI's clients always send one"


def test_texts_are_logged_only_where_that_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    for wanted in (False, True):
        with served(limits=Limits(log_texts=wanted)) as server:
            server.speech("Nobody reads this\x1b.")
            server.speech("漢字")
            server.openai(input="Nobody reads this.", response_format="mp3")
        printed = capfd.readouterr().err
        assert not [part for part in ("POST / 200", "POST / 400", "s of speech") if part not in printed]
        assert ("Nobody" in printed) == ("漢字" in printed) == wanted
        assert "\x1b" not in printed
