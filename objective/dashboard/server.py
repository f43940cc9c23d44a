"""A small web server: a quiet thread for each request, and parts of a file, without which a browser cannot seek in a sound."""

import re
import socket
import sys
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

WAIT_S = 60.0  # for a client that says nothing, or takes nothing


class Server(ThreadingMixIn, WSGIServer):
    """Serves `app` at a socket address of `socket.getaddrinfo`. Raises OSError where that cannot be had."""

    daemon_threads = True
    request_queue_size = 64  # a browser asks for everything at once

    def __init__(self, app: WSGIApplication, family: socket.AddressFamily, address: tuple[Any, ...]) -> None:
        self.address_family = family
        super().__init__(address, _Quiet)
        self.set_app(app)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # http.server asks DNS for it
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):  # a client that went away is no error
            super().handle_error(request, client_address)


class _Quiet(WSGIRequestHandler):
    timeout = WAIT_S

    def setup(self) -> None:
        super().setup()
        send = self.wfile.write

        def write(data: Any) -> int:
            try:
                return send(data)
            except TimeoutError as why:  # of which wsgiref prints a traceback; a client that went away it forgives
                raise ConnectionAbortedError from why

        self.wfile.write = write  # type: ignore[method-assign]

    def log_message(self, *_: Any) -> None:
        """A dashboard polls: a line for each request says nothing."""


def seekable(app: WSGIApplication) -> WSGIApplication:
    """`app`, whose artifacts can be asked for in parts (`Range`), as a browser does to seek. They are held in memory."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith("/artifacts/"):
            return app(environ, start_response)
        status, headers, body = _whole(app, environ)
        if status.startswith("200"):
            headers.append(("Accept-Ranges", "bytes"))
            if span := _span(environ.get("HTTP_RANGE", ""), len(body)):
                first, last = span
                status = "206 Partial Content" if first <= last else "416 Range Not Satisfiable"
                headers.append(("Content-Range", f"bytes {f'{first}-{last}' if first <= last else '*'}/{len(body)}"))
                body = body[first : last + 1]
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answer


def styled(app: WSGIApplication, css: str) -> WSGIApplication:
    """`app`, whose page `/dashboard` has some more CSS."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith("/dashboard"):
            return app(environ, start_response)
        status, headers, body = _whole(app, environ)
        body = body.replace(b"</head>", f"<style>{css}</style></head>".encode(), 1)
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _whole(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, list[tuple[str, str]], bytes]:
    """What `app` answers: status, headers but for the length, body."""
    said: list[Any] = []

    def keep(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        said[:] = status, [(name, value) for name, value in headers if name.lower() != "content-length"]
        return lambda _: None

    parts = app(environ, keep)
    body = b"".join(parts)
    getattr(parts, "close", lambda: None)()  # an open file
    return said[0], said[1], body


def _span(said: str, size: int) -> tuple[int, int] | None:
    """First and last byte of `bytes=100-199`, `bytes=100-` or `bytes=-100`; None for anything else, which may be ignored."""
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", said.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last or size), size - 1)
