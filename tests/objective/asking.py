"""What tests of the dashboard share: an application on a real port, and one request to it."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from socket import AF_INET
from wsgiref.types import WSGIApplication

from objective.dashboard.server import Server


@contextmanager
def served(app: WSGIApplication) -> Iterator[int]:
    """Its port on this machine."""
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
    """Status, headers in small letters, and body. The underscore of a header's name is a hyphen."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
