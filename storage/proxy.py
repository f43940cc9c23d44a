"""One process that talks to the database for hundreds of workers: `python -m storage.proxy --storage URL`, and its client.

Whoever reaches the port may read and change the studies: serve 127.0.0.1, or a network where everybody is trusted.
"""
import argparse
import signal
import socket
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy
from optuna.storages._grpc.auto_generated.api_pb2 import GetStudyIdFromNameRequest
from optuna.storages._grpc.auto_generated.api_pb2_grpc import StorageServiceStub, add_StorageServiceServicer_to_server
from optuna.storages._grpc.client import GrpcClientCache
from optuna.storages._grpc.servicer import OptunaStorageProxyService

from storage.patience import first_line, patient
from storage.studies import FAILURES, OPENING_SECONDS, StorageError, database_failure, open_storage

PORT = 13_000
THREADS = 10  # each with a database connection, of the 15 that SQLAlchemy grants
STOP_S = 5.0  # for the calls that are on their way
# A proxy that is gone is noticed within half a minute, also in the middle of a call, and one that is back within five seconds.
CLIENT = {"grpc.keepalive_time_ms": 20_000, "grpc.keepalive_timeout_ms": 10_000, "grpc.http2.max_pings_without_data": 0}
CLIENT |= {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 5_000}
SERVER = {"grpc.so_reuseport": 0, "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000}
NO_LIMIT = {"grpc.max_receive_message_length": -1}  # a health record may be large


@patient
class Proxy(GrpcStorageProxy):
    """Optuna's client, on a channel that notices when its server is gone."""

    patience_s = 60.0

    def _setup(self) -> None:
        self._channel = grpc.insecure_channel(f"{self._host}:{self._port}", options=[*(CLIENT | NO_LIMIT).items()])
        self._stub = StorageServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._cache = GrpcClientCache(self._stub)


def connect(address: str, patience_s: float) -> BaseStorage:
    """The studies behind the proxy at `//HOST:PORT`. Raises StorageError where none answers."""
    try:
        place = urlsplit(address)
        host, port = place.hostname, place.port or PORT
    except ValueError:
        host = None
    if not host or "@" in address or place.path.strip("/"):
        raise StorageError(f"need the address of a proxy such as grpc://host:{PORT}: python -m storage.proxy prints it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = Proxy(host=_bracketed(host), port=port)
    proxy.patience_s = patience_s
    try:
        proxy._stub.GetStudyIdFromName(GetStudyIdFromNameRequest(study_name=""), timeout=OPENING_SECONDS)
    except grpc.RpcError as why:
        if why.code() != grpc.StatusCode.NOT_FOUND:
            proxy.close()
            way_out = "start one there with python -m storage.proxy"
            raise StorageError(f"no storage proxy answers at {host}:{port}: {first_line(why)}: {way_out}") from why
    return proxy


def serve(storage: BaseStorage, host: str, port: int) -> tuple[grpc.Server, int]:
    """A server that answers, and its port (a free one for 0). Raises StorageError where the port cannot be had."""
    if not 0 <= port <= 65_535:
        raise StorageError(f"need a port from 0 to 65535, got {port}: choose another")
    try:  # gRPC would write lines of its own
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as why:
        raise StorageError(f"cannot serve port {port} of {host}: {why.strerror}: choose another") from why
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[*(SERVER | NO_LIMIT).items()])
    add_StorageServiceServicer_to_server(OptunaStorageProxyService(storage), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"{_bracketed(host)}:{port}")
    server.start()
    return server, port


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM. Exit codes: 0 stopped, 1 the machine failed, 2 bad input, 130 stopped before it served."""
    parsed = _parser().parse_args(arguments)
    try:
        server, port = serve(open_storage(parsed.storage), parsed.host, parsed.port)
    except StorageError as why:
        print(why, file=sys.stderr)
        return 2
    except FAILURES as why:
        print(database_failure(why), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    host = socket.gethostname() if parsed.host in ("0.0.0.0", "::") else parsed.host
    print(f"serving: type --storage grpc://{_bracketed(host)}:{port} on the workers", flush=True)
    asked.wait()
    server.stop(STOP_S).wait()
    return 0


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host  # IPv6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m storage.proxy", description="Serve a database to many workers.")
    parser.add_argument("--storage", required=True, metavar="URL", help="as for the study, e.g. postgresql://user@host/name")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; 0.0.0.0: on every network")
    parser.add_argument("--port", type=int, default=PORT, help="0: any free one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
