"""Open the database of the studies so that many processes can share it and a short outage ends no trial."""

import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from storage.errors import LOCAL, StorageError
from storage.optuna_private import CachedTables, tables_of
from storage.proxy_client import connect
from storage.retry import OPENING_SECONDS, first_line, origin, retrying

BUSY_SECONDS = 30
EXAMPLES = "sqlite:///runs/studies.db, postgres-local:runs/postgres, postgresql://user@host/name or grpc://host:13000"
LOCAL_FOLDER = "runs/postgres"
SECRETS = ("password", "sslpassword")
_FAILURES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# A lost server, or a connection that a firewall dropped, is noticed within half a minute. No statement is prepared on the
# server: a pooler such as PgBouncer may run the next transaction on another connection, which lacks it.
POSTGRESQL: dict[str, int | None] = {"connect_timeout": OPENING_SECONDS, "tcp_user_timeout": 20_000, "prepare_threshold": None}
POSTGRESQL |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def open_storage(url: str, retry_s: float = 60.0) -> optuna.storages.BaseStorage:
    """Open a database, and create it where it is missing. Its operations are retried for `retry_s` seconds (storage/retry.py).

    url: `sqlite:///FILE`; `postgres-local[:DIR]`, a private PostgreSQL server on this machine (storage/postgres.py);
    `postgresql://...` or another URL of SQLAlchemy; `grpc://HOST:PORT`, a proxy (storage/proxy_client.py).

    Raises StorageError where the URL is invalid, the server cannot be reached, or the tables are of another version. Where the
    file is valid and the machine fails (disk full, database locked), raises an exception that `database_failure` explains.
    """
    kind, colon, rest = url.partition(":")
    if kind == "grpc":
        return connect(rest, retry_s)
    parsed, secrets = (None, {}) if kind == LOCAL else _read(url)
    shown = url if parsed is None else parsed.render_as_string()
    try:
        if parsed is None:
            parsed = _local(rest if colon else LOCAL_FOLDER)
        if parsed.get_backend_name() == "sqlite":
            return _database(_sqlite(url, parsed.database), retry_s)
        return _database(_server(parsed, secrets), retry_s)
    except (SQLAlchemyError, sqlite3.Error, StorageInternalError, ImportError) as why:
        if getattr(origin(why), "sqlite_errorcode", 0) & 0xFF in _FAILURES:
            raise
        way_out = "check that it exists and that you may write to it"
        raise StorageError(f"cannot open {shown}: {first_line(why)}: {way_out}") from why
    except OSError as why:
        raise StorageError(f"cannot open {shown}: {why.strerror or why}: choose a folder that can be written to") from why
    except RuntimeError as why:  # Optuna's error for tables of another version, which names the way out
        raise StorageError(f"cannot use {shown}: {first_line(why)}") from why


def stop_retrying(storage: optuna.storages.BaseStorage) -> None:
    """Stop retrying the operations of a storage, because the process is to end. Safe to call from a signal handler."""
    storage.retry_s = 1.0  # type: ignore[attr-defined]
    tables = tables_of(storage)
    if isinstance(tables, Tables):
        tables.impatient = True


def read_mostly(storage: optuna.storages.BaseStorage) -> None:
    """Prepare a storage for a program that reads and rarely writes: reads lock no file, and a conflicting write is retried."""
    tables = tables_of(storage)
    if isinstance(tables, Tables):
        tables.locks_reads = False


class Tables(optuna.storages.RDBStorage):
    """Optuna's tables, whose connection is closed where opening them fails."""

    impatient = False  # set by `stop_retrying`: a locked file is waited for no longer
    locks_reads = True  # cleared by `read_mostly`

    def __init__(self, url: str, engine: dict[str, Any]) -> None:
        try:
            super().__init__(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=engine)  # Optuna calls str.format on it
        except BaseException:  # re-raised: Ctrl-C must leave no connection open either
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise


@retrying
class Database(CachedTables):
    """Optuna's tables behind its cache; an operation is retried for `retry_s` seconds."""

    retry_s = 60.0


def _database(tables: Tables, retry_s: float) -> Database:
    database = Database(tables)
    database.retry_s = retry_s
    return database


def _local(folder: str) -> URL:
    if not folder:
        raise StorageError(f"need a folder after {LOCAL}: write {LOCAL}:{LOCAL_FOLDER}")
    from storage.postgres import start  # here, because it needs Unix: fcntl and pwd

    return start(Path(folder))


def _read(url: str) -> tuple[URL, dict[str, str]]:
    """Split a URL from the secrets in its query, which SQLAlchemy would print."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise StorageError(f"need a storage URL such as {EXAMPLES}") from None  # the invalid part may be a password
    if parsed.get_backend_name() != "sqlite" and url.count("@") > 1:
        raise StorageError("need a storage URL with one @: write %40 for an @ in a user's name, a password or an option")
    secrets = {name: value[-1] for name, value in parsed.normalized_query.items() if name in SECRETS}
    return parsed.difference_update_query(secrets), secrets


def _server(parsed: URL, secrets: dict[str, str]) -> Tables:
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    options = POSTGRESQL if parsed.drivername == "postgresql+psycopg" else {}
    missing = {name: value for name, value in options.items() if name not in parsed.query}
    engine = {"pool_pre_ping": True, "pool_recycle": 1_800, "connect_args": {**missing, **secrets}}
    return _tables(parsed.render_as_string(hide_password=False), engine)


def _sqlite(url: str, database: str | None) -> Tables:
    if not database or database == ":memory:":
        raise StorageError(f"need a file that keeps the study, got {url}: write sqlite:///FILE")
    path = Path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # is kept in the file
    connection.close()
    rdb = _tables(url, {"connect_args": {"timeout": BUSY_SECONDS}})
    file = os.stat(path)

    @event.listens_for(rdb.engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin a transaction only at the first write, see below
        connection.execute(
            "PRAGMA synchronous=NORMAL"
        )  # with WAL, a crash of the machine can cost no more than the last commit

    @event.listens_for(rdb.engine, "begin")
    def _begin(connection: Any) -> None:
        # Optuna reads whether a trial is still WAITING, then takes it. SQLite ignores the row lock that Optuna requests in
        # between, so without an immediate lock two workers could run one trial.
        connection.connection.dbapi_connection.execute("BEGIN IMMEDIATE" if rdb.locks_reads else "BEGIN")

    @event.listens_for(rdb.engine, "checkout")
    def _check_file(connection: sqlite3.Connection, *_: object) -> None:
        # An open file outlives its name: without this check, hours of trials could go into a deleted file.
        if not path.exists() or not os.path.samestat(file, os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, "the database was deleted or moved while the study ran", str(path))
        if rdb.impatient:
            connection.execute("PRAGMA busy_timeout=1000")

    rdb.engine.dispose()  # the connection from before the listeners
    return rdb


def _tables(url: str, engine: dict[str, Any]) -> Tables:
    """Open the tables. Optuna creates missing ones without a lock: workers that start at once may meet half-created tables."""
    for _ in range(20):
        try:
            return Tables(url, engine)
        except SQLAlchemyError as why:
            if not isinstance(why, IntegrityError) and "already exists" not in str(why):
                raise
            time.sleep(0.1)
    return Tables(url, engine)
