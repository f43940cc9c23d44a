"""Decide who may reach a web server of this program: addresses, the token, and requests from other pages.

With a token, every request must carry it. Without one, a server answers only to the names of this machine, so that another name
made to resolve to it (DNS rebinding) reads nothing. Pages of other sites may link to it; requests that write must come from the
server's own pages.
"""

import base64
import binascii
import hmac
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from model.errors import BadInput

LOOPBACK = ("localhost", "127.0.0.1", "::1")
READING = ("GET", "HEAD", "OPTIONS")
SHORTEST = 12  # characters of a token
CHALLENGE = ("WWW-Authenticate", 'Basic realm="tacotune", charset="UTF-8"')  # with which a browser asks for the token
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

Header = Callable[[str], str | None]  # name -> value, decoded as Latin-1


def address_of(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return family and socket address of a host and a port to serve. Raises BadInput."""
    if not 0 <= port <= 65_535:
        raise BadInput(f"need a port from 0 to 65535, got {port}: choose another --port")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as why:
        raise BadInput(f"need a name or an address of this machine, got {host}: give --host 127.0.0.1") from why
    return family, address


def token_for(host: str, address: tuple[Any, ...], variable: str) -> str | None:
    """Return the token in the environment variable. Raises BadInput for a short one, and without one for others' addresses."""
    token = os.environ.get(variable, "").strip() or None
    if token is None and not ipaddress.ip_address(address[0]).is_loopback:
        way_out = f"set {variable}, or leave --host out"
        raise BadInput(f"need a token in the environment to serve {host}, which others can reach: {way_out}")
    if token is not None and len(token) < SHORTEST:
        raise BadInput(f"need a {variable} of {SHORTEST} characters or more, got {len(token)}: choose a longer one")
    return token


def origin(address: Any) -> str:
    """Return the URL of a server that listens at a socket address."""
    host, port = address[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def refusal(method: str, header: Header, token: str | None) -> tuple[int, str] | None:
    """Return status and sentence for a request that is not permitted, 401 without the token or 403, else None."""
    if token is not None and not _authorised(header("Authorization") or "", os.fsencode(token)):
        return 401, "need the token, as the password of any user"
    if token is None and _name(header("Host")) not in LOOPBACK:
        return 403, f"need one of the names {', '.join(LOOPBACK)} while there is no token: use one of these"
    foreign = header("Sec-Fetch-Site") == "cross-site" and header("Sec-Fetch-Mode") != "navigate"
    if foreign or (method not in READING and not _own(header)):
        return 403, "need a request from a page of this server, got one from another page: open this server's"
    return None


def _authorised(header: str, token: bytes) -> bool:
    """Return whether the Authorization header carries the token, as `Bearer TOKEN` or as the password of `Basic`."""
    kind, _, rest = header.partition(" ")
    given = rest.strip().encode("latin-1")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            given = b""
    return kind.lower() in ("basic", "bearer") and hmac.compare_digest(given, token)


def _name(host: str | None) -> str | None:
    """Return the name by which the browser addresses this server."""
    try:
        return urlsplit(f"//{host or ''}").hostname
    except ValueError:
        return None


def _own(header: Header) -> bool:
    """Return whether a request comes from a page of this server, or not from a browser: browsers send one of these headers."""
    site, origin = header("Sec-Fetch-Site"), header("Origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    return origin.partition("://")[2].lower() == (header("Host") or "").lower()
