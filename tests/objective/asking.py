"""Serve an application on a real port, and send it a request: for the tests of the dashboard."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from socket import AF_INET
from wsgiref.types import WSGIApplication

from objective.dashboard.server import Server


@contextmanager
def served(app: WSGIApplication) -> Iterator[int]:
    """Serve `app` on a free port of this machine, whose number this context manager returns."""
    with Server(app, AF_INET, ("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(
    port: int, method: str = "GET", path: str = "/", body: str | bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send a request with `headers`, written with `_` for `-`; return status, headers by lower-case name, and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
