"""Authenticate requests to the dashboard: WSGI middleware around every route.

optuna-dashboard has no authentication: anybody who reaches its port, or makes a browser on this machine open a hostile
page, could fail trials and delete studies. objective/runtime/access.py decides.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from objective.runtime.access import CHALLENGE, HEADERS, refusal

READ_BYTES = 1 << 20  # of a refused request: if less is read than was sent, the client may never see the answer
DROPPED = ("access-control-allow-origin",)  # optuna-dashboard lets the pages of any site read the artifacts
PROGRAM = ("/dashboard", "/static/")  # paths of the dashboard's own pages and scripts
SANDBOX = ("Content-Security-Policy", "sandbox")  # anything else may be an uploaded file, whose scripts must not run


class Guard:
    """Passes permitted requests to `app`; answers 401 without the token and 403 to requests from elsewhere, with a sentence."""

    def __init__(self, app: WSGIApplication, token: str | None) -> None:
        self.app, self.token = app, token

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def header(name: str) -> str | None:
            return environ.get(f"HTTP_{name.upper().replace('-', '_')}")

        refused = refusal(environ["REQUEST_METHOD"], header, self.token)
        if refused is not None:
            return _refuse(environ, start_response, *refused)
        return self.app(environ, _hardened(environ, start_response))


def _hardened(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    # Bottle drops bytes that are not UTF-8, so a path that begins otherwise may still be an artifact's.
    more = [*HEADERS] if environ["PATH_INFO"].startswith(PROGRAM) else [*HEADERS, SANDBOX]

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in DROPPED]
        return start_response(status, kept + more, exc_info)

    return start


def _refuse(environ: WSGIEnvironment, start_response: StartResponse, code: int, sentence: str) -> list[bytes]:
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isdecimal():
        environ["wsgi.input"].read(min(int(length), READ_BYTES))
    body = f"{sentence}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *HEADERS]
    start_response(f"{code} {HTTPStatus(code).phrase}", [*headers, CHALLENGE] if code == HTTPStatus.UNAUTHORIZED else headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
