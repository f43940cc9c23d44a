"""Authenticate requests to the dashboard: WSGI middleware around every route.

optuna-dashboard has no authentication: anybody who reaches its port, or makes a browser on this machine open a hostile
page, could fail trials and delete studies. With a token, every request must carry it. Without one, the server answers only to
the names of this machine, so that another name made to resolve to it (DNS rebinding) reads nothing. Pages of other sites may
link to it; requests that write must come from the dashboard's own pages.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = ("localhost", "127.0.0.1", "::1")
READING = ("GET", "HEAD", "OPTIONS")
READ_BYTES = 1 << 20  # of a refused request: if less is read than was sent, the client may never see the answer
DROPPED = ("access-control-allow-origin",)  # optuna-dashboard lets the pages of any site read the artifacts
ADDED = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
PROGRAM = ("/dashboard", "/static/")  # paths of the dashboard's own pages and scripts
SANDBOX = ("Content-Security-Policy", "sandbox")  # anything else may be an uploaded file, whose scripts must not run


class Guard:
    """Passes permitted requests to `app`; answers 401 without the token and 403 to requests from elsewhere, with a sentence."""

    def __init__(self, app: WSGIApplication, token: str | None) -> None:
        self.app = app
        self.token = None if token is None else os.fsencode(token)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.token is not None and not self._authorised(environ.get("HTTP_AUTHORIZATION", "")):
            challenge = ("WWW-Authenticate", 'Basic realm="tacotune", charset="UTF-8"')
            sentence = "need the token, as the password of any user"
            return _refuse(environ, start_response, "401 Unauthorized", sentence, challenge)
        if self.token is None and _name(environ) not in LOOPBACK:
            sentence = f"need one of the names {', '.join(LOOPBACK)} while there is no token: open the dashboard by that"
            return _refuse(environ, start_response, "403 Forbidden", sentence)
        foreign = environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" and environ.get("HTTP_SEC_FETCH_MODE") != "navigate"
        if foreign or (environ["REQUEST_METHOD"] not in READING and not _own(environ)):
            sentence = "need a request from a page of the dashboard, got one from another page: open the dashboard"
            return _refuse(environ, start_response, "403 Forbidden", sentence)
        return self.app(environ, _hardened(environ, start_response))

    def _authorised(self, header: str) -> bool:
        """Return whether the Authorization header carries the token, as `Bearer TOKEN` or as the password of `Basic`."""
        kind, _, rest = header.partition(" ")
        given = rest.strip().encode("latin-1")  # as WSGI decodes headers
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                given = b""
        return kind.lower() in ("basic", "bearer") and hmac.compare_digest(given, self.token or b"")


def _name(environ: WSGIEnvironment) -> str | None:
    """Return the name by which the browser addresses this server."""
    try:
        return urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
    except ValueError:
        return None


def _own(environ: WSGIEnvironment) -> bool:
    """Return whether a request comes from a page of this server, or not from a browser: browsers send one of these headers."""
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    return bool(origin.partition("://")[2].lower() == environ.get("HTTP_HOST", "").lower())


def _hardened(environ: WSGIEnvironment, start_response: StartResponse) -> StartResponse:
    # Bottle drops bytes that are not UTF-8, so a path that begins otherwise may still be an artifact's.
    more = [*ADDED] if environ["PATH_INFO"].startswith(PROGRAM) else [*ADDED, SANDBOX]

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in DROPPED]
        return start_response(status, kept + more, exc_info)

    return start


def _refuse(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, sentence: str, *more: tuple[str, str]
) -> list[bytes]:
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isdecimal():
        environ["wsgi.input"].read(min(int(length), READ_BYTES))
    body = f"{sentence}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, *ADDED, *more])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
