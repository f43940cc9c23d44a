"""A server under load, with hostile clients, and at its end."""

import contextlib
import random
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch

from model.vocoders.loading import load_vocoder
from objective.speech.self_check import fault
from objective.speech.server import api
from objective.speech.server.api import Limits
from tests.objective.asking import ask
from tests.objective.speech.serving import TEXT, served, talking
from tests.processes import until


def test_what_waits_is_said_in_one_batch_and_sounds_as_alone() -> None:
    texts = ["One comes first.", "Two waits for it.", "Three waits, too, and is longer."]
    with served(held=True) as server, ThreadPoolExecutor(4) as clients:
        first = clients.submit(server.speech, texts[0])
        server.vocoder.begun.acquire()
        rest = [clients.submit(server.speech, text) for text in texts[1:]]
        until(lambda: server.speaker.waiting == 3)
        server.vocoder.free.set()
        answers = [answer.result() for answer in (first, *rest)]
        assert (server.speaker.batches, server.speaker.said) == (2, 3)
        for text, (status, _, body) in zip(texts, answers, strict=True):
            wave = server.voice.speak(text, server.vocoder, tries=1)[0]
            assert status == 200
            heard = np.frombuffer(body[44:], "<i2") / 32_767
            np.testing.assert_allclose(heard, wave, atol=1e-3)


def test_a_full_queue_is_answered_with_429_until_there_is_room() -> None:
    with served(held=True, queue=2) as server, ThreadPoolExecutor(2) as clients:
        running = [clients.submit(server.speech) for _ in range(2)]
        until(lambda: server.speaker.waiting == 2)
        status, headers, body = server.speech()
        assert (status, b"need room in the queue" in body) == (429, True)
        assert int(headers["retry-after"]) >= 1
        assert ask(server.port, path="/health")[0] == 200
        assert server.metric("queue_length") == 2
        server.vocoder.free.set()
        assert [answer.result()[0] for answer in running] == [200, 200]
        assert server.speech()[0] == 200


def test_a_request_that_takes_too_long_gets_504_and_makes_room() -> None:
    with served(held=True, queue=1, limits=Limits(timeout_s=0.2)) as server:
        status, _, body = server.speech()
        assert (status, b"need an answer within 0.2 s" in body) == (504, True)
        assert server.speaker.waiting == 0
        assert server.speech()[0] == 504, "not 429"
    assert server.speaker.said == 1, "the second one was not said for nobody"


def test_a_client_that_goes_away_makes_room() -> None:
    with served(held=True, queue=1) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"GET /api/tts?text={quote(TEXT)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            server.vocoder.begun.acquire()
            assert server.speaker.waiting == 1
        until(lambda: server.speaker.waiting == 0)
        assert server.metric('requests_total{path="/api/tts",code="499"}') == 1
        server.vocoder.free.set()
        assert server.speech()[0] == 200


def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    own = talking(corpus={"longest": 20})
    with served(own, held=True, batch=2) as server, ThreadPoolExecutor(2) as clients:
        ended: list[str] = []

        def say(name: str, text: str) -> None:
            assert server.speech(text)[0] == 200
            ended.append(name)

        long = clients.submit(say, "long", "This is one sentence. " * 10)
        server.vocoder.begun.acquire()
        short = clients.submit(say, "short", TEXT)
        until(lambda: server.speaker.waiting == 2)
        server.vocoder.free.set()
        long.result(), short.result()
    assert ended == ["short", "long"]


def test_at_a_signal_running_requests_end_and_no_new_one_begins(capfd: pytest.CaptureFixture[str]) -> None:
    with served(held=True) as server, ThreadPoolExecutor(2) as clients:
        running = [clients.submit(server.speech) for _ in range(2)]
        until(lambda: server.speaker.waiting == 2)
        server.interruption.request()
        until(lambda: _refused(server.port))
        server.vocoder.free.set()
        assert [answer.result()[0] for answer in running] == [200, 200]
        server.thread.join(60)
        assert not server.thread.is_alive()
    assert "requests still to be answered: 2" in capfd.readouterr().err


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_error_of_the_voice_is_answered_and_the_server_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with served() as server:
        say, server.speaker.vocoder = server.speaker.vocoder, _broken
        status, _, body = server.speech()
        assert (status, b"the server failed" in body) == (500, True)
        server.speaker.vocoder = say
        assert server.speech()[0] == 200
    assert "1 sentences could not be said: RuntimeError: out of memory" in capfd.readouterr().err


def _broken(mel: Any) -> Any:
    raise RuntimeError("out of memory")


def test_a_gpu_that_failed_ends_the_server() -> None:
    failed: Future[None] = Future()

    def lost(mel: Any) -> Any:
        raise RuntimeError("CUDA error: device is lost")

    before = threading.excepthook
    threading.excepthook = lambda why: failed.set_exception(why.exc_value or AssertionError())
    try:
        with served() as server:
            server.speaker.vocoder = lost
            assert server.speech()[0] == 500
            with pytest.raises(RuntimeError, match="device is lost"):
                failed.result(60)
            server.thread.join(60)
            assert not server.thread.is_alive()
    finally:
        threading.excepthook = before


def test_a_voice_that_is_not_finite_is_not_served(capfd: pytest.CaptureFixture[str]) -> None:
    own = talking(figures={"text": TEXT})
    vocoder = load_vocoder("griffin-lim", own.config.audio)
    assert fault(own, vocoder) is None
    assert " s of speech in " in capfd.readouterr().err
    with torch.no_grad():
        own.network.projection.weight.fill_(torch.nan)
    why = fault(own, vocoder)
    assert why is not None
    assert why.startswith("need a voice whose speech is finite")
    assert why in capfd.readouterr().err
    with served(own) as server:
        assert server.speech()[0] == 500


HELLO = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
HOSTILE = [
    b"",
    b"\0" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET /api/tts?text=secret HTTP/9.9\r\n\r\n",
    b"GET /api/tts?text=%ff%fe%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    HELLO + b"Content-Length: -1\r\n\r\nx",
    HELLO + b"Content-Length: 10\r\n\r\nshort",
    HELLO + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\nshort",
    HELLO + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nsecret",
    HELLO + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    HELLO + b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret",
    HELLO + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\n--x",
    HELLO + b"Content-Type: application/json; charset=nothing\r\nContent-Length: 2\r\n\r\n{}",
    HELLO + b"Cookie: " + b"a=" * 20_000 + b"\r\n\r\n",
]


def _send(port: int, content: bytes, read: bool) -> None:
    """Send bytes, and go away, or read what is answered."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        while read and client.recv(65_536):
            pass


def test_no_bytes_end_the_server_and_their_texts_are_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(0)
    with served() as server:
        for content in HOSTILE:
            for read in (True, False):
                _send(server.port, content, read)
        for _ in range(50):
            body = bytes(dice.choices(range(256), k=dice.randrange(200)))
            status, _, _ = ask(server.port, "POST", dice.choice(("/", "/v1/audio/speech")), body)
            assert status in (200, 400)
        assert server.speech()[0] == 200
        assert server.speaker.waiting == 0
    printed = capfd.readouterr().err
    assert "secret" not in printed
    assert "Traceback" not in printed


def test_slow_bodies_get_408_and_hold_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_S", 0.2)
    with served(queue=1) as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(HELLO + b"Content-Length: 10\r\n\r\nOnl")
        assert server.speech()[0] == 200
        slow.settimeout(60)
        assert b" 408 " in slow.recv(100)


@pytest.mark.slow
def test_sixty_four_clients_are_all_answered() -> None:
    """Each says its own text many times: 200 with its own sound, or 429 where the queue is full."""
    own = talking(corpus={"longest": 40})
    with served(own, queue=32) as server, ThreadPoolExecutor(64) as clients:
        texts = [f"Number {number} speaks." for number in range(64)]
        alone = {text: own.speak(text, server.vocoder, tries=1)[0] for text in texts}
        assert not np.allclose(alone[texts[0]][:20_000], alone[texts[1]][:20_000], atol=1e-2)

        def client(text: str) -> list[int]:
            codes = []
            for _ in range(5):
                status, headers, body = server.speech(text)
                codes.append(status)
                assert status in (200, 429)
                if status == 429:
                    assert int(headers["retry-after"]) >= 1
                else:
                    np.testing.assert_allclose(np.frombuffer(body[44:], "<i2") / 32_767, alone[text], atol=1e-3)
            return codes

        codes = [code for row in clients.map(client, texts) for code in row]
        assert codes.count(200) > 64
        assert codes.count(200) == server.metric("request_seconds_count")
        assert server.speaker.batches < server.speaker.said / 2
        assert server.speaker.waiting == 0
