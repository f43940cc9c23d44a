"""The studies behind a proxy (storage/proxy.py): `grpc://HOST:PORT`."""

import warnings
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage

from storage.errors import StorageError
from storage.optuna_private_grpc import ProxyClient
from storage.paths import PROXY_PORT
from storage.retry import OPENING_SECONDS, first_line, patient

# A proxy that is gone is noticed within half a minute, also in the middle of a call, and one that is back within five seconds.
CLIENT = {"grpc.keepalive_time_ms": 20_000, "grpc.keepalive_timeout_ms": 10_000, "grpc.http2.max_pings_without_data": 0}
CLIENT |= {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 5_000}
NO_LIMIT = {"grpc.max_receive_message_length": -1}  # a health record may be large


@patient
class Proxy(ProxyClient):
    """A client that notices when its server is gone, and repeats an operation for `patience_s` seconds."""

    patience_s = 60.0
    channel_options = CLIENT | NO_LIMIT


def connect(address: str, patience_s: float) -> BaseStorage:
    """The studies behind the proxy at `//HOST:PORT`. Raises StorageError where none answers."""
    try:
        place = urlsplit(address)
        host, port = place.hostname, place.port or PROXY_PORT
    except ValueError:
        host = None
    if not host or "@" in address or place.path.strip("/"):
        raise StorageError(f"need the address of a proxy such as grpc://host:{PROXY_PORT}: `tacotune proxy` prints it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = Proxy(host=bracketed(host), port=port)
    proxy.patience_s = patience_s
    try:
        proxy.ping(OPENING_SECONDS)
    except grpc.RpcError as why:
        proxy.close()
        way_out = "start one there with `tacotune proxy`"
        raise StorageError(f"no storage proxy answers at {host}:{port}: {first_line(why)}: {way_out}") from why
    return proxy


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host  # IPv6
