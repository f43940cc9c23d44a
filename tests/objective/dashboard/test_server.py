"""Laws of the web server, over real HTTP."""

import socket
import struct
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objective.dashboard.server import Server, _Quiet, _span, seekable, styled
from tests.objective.asking import ask, served
from tests.processes import until

SOUND = bytes(range(200))


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    found = "404 Not Found" if environ["PATH_INFO"].endswith("gone") else "200 OK"
    start_response(found, [("Content-Type", "audio/ogg")])
    return [SOUND[:50], SOUND[50:]]


CASES = {
    None: (200, None, SOUND),
    "bytes=0-": (206, "bytes 0-199/200", SOUND),
    "bytes=10-19": (206, "bytes 10-19/200", SOUND[10:20]),
    "bytes=190-1000": (206, "bytes 190-199/200", SOUND[190:]),
    "bytes=-5": (206, "bytes 195-199/200", SOUND[-5:]),
    "bytes=-1000": (206, "bytes 0-199/200", SOUND),
    "bytes=200-": (416, "bytes */200", b""),
    "bytes=-0": (416, "bytes */200", b""),
    "bytes=0-1,5-6": (200, None, SOUND),
    "bytes=-": (200, None, SOUND),
    "seconds=1-2": (200, None, SOUND),
    "bytes=" + "9" * 5_000 + "-": (200, None, SOUND),
}


def test_an_artifact_comes_whole_or_in_parts() -> None:
    with served(seekable(app)) as port:
        for header, (status, place, body) in CASES.items():
            answer = ask(port, path="/artifacts/1/2/3", **({} if header is None else {"Range": header}))
            assert (answer[0], answer[1].get("content-range"), answer[2]) == (status, place, body), header
            assert answer[1]["content-length"] == str(len(body))
            assert answer[1]["accept-ranges"] == "bytes"


def test_nothing_else_comes_in_parts() -> None:
    with served(seekable(app)) as port:
        for path in ("/api/studies", "/artifacts/gone"):
            status, headers, body = ask(port, path=path, Range="bytes=10-19")
            assert status == (404 if "gone" in path else 200)
            assert "content-range" not in headers
            assert body == SOUND


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 250))
def test_parts_that_follow_each_other_are_the_whole(first: int, length: int, size: int) -> None:
    whole = bytes(size % 251 for size in range(size))
    ranges = (f"0-{first}", f"{first + 1}-{first + length}", f"{first + length + 1}-")
    spans = [_span(f"bytes={part}", size) for part in ranges]
    if length:
        assert b"".join(whole[span[0] : span[1] + 1] for span in spans if span) == whole


def test_a_page_gets_its_style_and_its_new_length() -> None:
    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "26")])
        return [b"<head></head><body></body>"]

    with served(styled(page, "p {}")) as port:
        _, headers, body = ask(port, path="/dashboard/studies/1")
        assert body == b"<head><style>p {}</style></head><body></body>"
        assert headers["content-length"] == str(len(body))
        assert ask(port, path="/static/bundle.js")[2] == b"<head></head><body></body>"


def test_one_slow_request_holds_up_no_other() -> None:
    begun, slow = threading.Event(), threading.Event()

    def waiting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            begun.set()
            assert slow.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    with served(waiting) as port:
        answers: list[bytes] = []
        thread = threading.Thread(target=lambda: answers.append(ask(port, path="/slow")[2]))
        thread.start()
        assert begun.wait(10)
        assert ask(port)[2] == b"done"
        assert answers == []
        slow.set()
        thread.join()
    assert answers == [b"done"]


def test_a_client_that_goes_away_leaves_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    """Before its request is complete, and while it is answered; with a reset, as a closed tab sends it."""
    large = b"x" * 50_000_000

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [large]

    with served(app) as port:
        for request in (b"", b"GE", b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request)
                if request.endswith(b"\n"):
                    assert client.recv(10)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert len(ask(port)[2]) == len(large)
    assert capfd.readouterr() == ("", "")


def test_a_client_that_takes_no_data_leaves_no_message(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Quiet, "timeout", 1.0)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [bytes(50_000_000)]

    with served(app) as port:
        alone = threading.active_count()
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(10)
        until(lambda: threading.active_count() == alone)
        client.close()
    assert capfd.readouterr() == ("", "")


def test_it_serves_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    with Server(app, socket.AF_INET6, ("::1", 0, 0, 0)) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with socket.create_connection(("::1", server.server_port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while part := client.recv(65_536):
                answer += part
        thread.join()
    assert answer.endswith(SOUND)
