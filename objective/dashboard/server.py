"""A small web server: a thread for each request, no log lines, and byte ranges, which a browser needs to seek in a sound."""

import re
import socket
import sys
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

WAIT_S = 60.0  # for a client that sends or takes nothing


class Server(ThreadingMixIn, WSGIServer):
    """Serves `app` at a socket address of `socket.getaddrinfo`. Raises OSError where the address is not available."""

    daemon_threads = True
    request_queue_size = 64  # a browser requests everything at once

    def __init__(self, app: WSGIApplication, family: socket.AddressFamily, address: tuple[Any, ...]) -> None:
        self.address_family = family
        super().__init__(address, _Quiet)
        self.set_app(app)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # http.server would query DNS
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
            except TimeoutError as why:  # wsgiref prints a traceback for it, but none for a client that went away
                raise ConnectionAbortedError from why

        self.wfile.write = write  # type: ignore[method-assign]

    def log_message(self, *_: Any) -> None:
        """Log nothing: a dashboard polls, and a line for each request would be noise."""


def seekable(app: WSGIApplication) -> WSGIApplication:
    """Wrap `app` so that artifacts can be requested in parts (`Range`), as a browser does to seek. They are held in memory."""

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
    """Wrap `app` so that its page `/dashboard` has additional CSS."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith("/dashboard"):
            return app(environ, start_response)
        status, headers, body = _whole(app, environ)
        body = body.replace(b"</head>", f"<style>{css}</style></head>".encode(), 1)
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _whole(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the response of `app`: status, headers without the length, body."""
    head: list[Any] = []

    def keep(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        head[:] = status, [(name, value) for name, value in headers if name.lower() != "content-length"]
        return lambda _: None

    parts = app(environ, keep)
    body = b"".join(parts)
    getattr(parts, "close", lambda: None)()  # an open file
    return head[0], head[1], body


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of `bytes=100-199`, `bytes=100-` or `bytes=-100`; None for all else, which may be ignored."""
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last or size), size - 1)
