"""Serve a database to hundreds of workers through one process: the program of `proxy` (objective/proxy.py)."""

import argparse
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import grpc  # type: ignore[import-untyped]
from optuna.storages import BaseStorage

from storage.errors import StorageError
from storage.optuna_private_grpc import add_service
from storage.proxy_client import NO_LIMIT, bracketed
from storage.studies import open_storage

THREADS = 10  # each holds a database connection; SQLAlchemy's pool allows 15
STOP_S = 5.0  # for calls in flight to finish
SERVER = {"grpc.so_reuseport": 0, "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000}


def serve(storage: BaseStorage, host: str, port: int) -> tuple[grpc.Server, int]:
    """Start a server; return it and its port (a free one for 0). Raises StorageError where the port cannot be bound."""
    if not 0 <= port <= 65_535:
        raise StorageError(f"need a port from 0 to 65535, got {port}: choose another")
    try:  # gRPC itself would print several lines to stderr
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as why:
        raise StorageError(f"cannot serve port {port} of {host}: {why.strerror}: choose another") from why
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[*(SERVER | NO_LIMIT).items()])
    add_service(server, storage)
    port = server.add_insecure_port(f"{bracketed(host)}:{port}")
    server.start()
    return server, port


def run(parsed: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Raises StorageError and the database's errors."""
    server, port = serve(open_storage(parsed.storage), parsed.host, parsed.port)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    host = socket.gethostname() if parsed.host in ("0.0.0.0", "::") else parsed.host
    print(f"serving: give --storage grpc://{bracketed(host)}:{port} to the workers", flush=True)
    stop.wait()
    server.stop(STOP_S).wait()
    return 0


if __name__ == "__main__":
    sys.exit(import_module("objective.proxy").main())
