"""Client of the storage proxy (storage/proxy.py): the studies at `grpc://HOST:PORT`."""

import warnings
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage

from storage.errors import StorageError
from storage.optuna_private_grpc import ProxyClient
from storage.paths import PROXY_PORT
from storage.retry import OPENING_SECONDS, first_line, retrying

# A lost proxy is noticed within half a minute, even in the middle of a call; a restarted one within five seconds.
CLIENT = {"grpc.keepalive_time_ms": 20_000, "grpc.keepalive_timeout_ms": 10_000, "grpc.http2.max_pings_without_data": 0}
CLIENT |= {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 5_000}
NO_LIMIT = {"grpc.max_receive_message_length": -1}  # a health record may be large


@retrying
class Proxy(ProxyClient):
    """A client that notices a lost server, and retries an operation for `retry_s` seconds."""

    retry_s = 60.0
    channel_options = CLIENT | NO_LIMIT


def connect(address: str, retry_s: float) -> BaseStorage:
    """Connect to the proxy at `//HOST:PORT`. Raises StorageError where none answers."""
    try:
        parsed = urlsplit(address)
        host, port = parsed.hostname, parsed.port or PROXY_PORT
    except ValueError:
        host = None
    if not host or "@" in address or parsed.path.strip("/"):
        raise StorageError(f"need the address of a proxy such as grpc://host:{PROXY_PORT}: `tacotune proxy` prints it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = Proxy(host=bracketed(host), port=port)
    proxy.retry_s = retry_s
    try:
        proxy.ping(OPENING_SECONDS)
    except grpc.RpcError as why:
        proxy.close()
        way_out = "start one there with `tacotune proxy`"
        raise StorageError(f"no storage proxy answers at {host}:{port}: {first_line(why)}: {way_out}") from why
    return proxy


def bracketed(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in square brackets."""
    return f"[{host}]" if ":" in host else host
