"""One process that talks to the database for hundreds of workers: `python -m storage.proxy --storage URL`.

Whoever reaches the port may read and change the studies: serve 127.0.0.1, or a network where everybody is trusted.
"""

import argparse
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated.api_pb2_grpc import add_StorageServiceServicer_to_server
from optuna.storages._grpc.servicer import OptunaStorageProxyService

from storage.errors import FAILURES, StorageError, database_failure
from storage.proxy_client import NO_LIMIT, PORT, bracketed
from storage.studies import open_storage

THREADS = 10  # each with a database connection, of the 15 that SQLAlchemy grants
STOP_S = 5.0  # for the calls that are on their way
SERVER = {"grpc.so_reuseport": 0, "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000}


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
    port = server.add_insecure_port(f"{bracketed(host)}:{port}")
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
    print(f"serving: type --storage grpc://{bracketed(host)}:{port} on the workers", flush=True)
    asked.wait()
    server.stop(STOP_S).wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m storage.proxy", description="Serve a database to many workers.")
    parser.add_argument("--storage", required=True, metavar="URL", help="as for the study, e.g. postgresql://user@host/name")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; 0.0.0.0: on every network")
    parser.add_argument("--port", type=int, default=PORT, help="0: any free one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
