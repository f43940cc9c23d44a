"""Open the database that holds the studies, whichever it is, so that many may share it and a short outage ends no trial."""

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
from storage.retry import OPENING_SECONDS, first_line, origin, patient

BUSY_SECONDS = 30
EXAMPLES = "sqlite:///runs/studies.db, postgres-local:runs/postgres, postgresql://user@host/name or grpc://host:13000"
LOCAL_FOLDER = "runs/postgres"
SECRETS = ("password", "sslpassword")
_FAILURES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# A server that is gone, and a connection that a firewall forgot, are noticed within half a minute. Nothing is prepared on the
# server: a pooler such as PgBouncer may give the next transaction another connection, which knows nothing of it.
POSTGRESQL: dict[str, int | None] = {"connect_timeout": OPENING_SECONDS, "tcp_user_timeout": 20_000, "prepare_threshold": None}
POSTGRESQL |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def open_storage(url: str, patience_s: float = 60.0) -> optuna.storages.BaseStorage:
    """Open, and make where it is missing, a database whose operations wait `patience_s` seconds for it (storage/retry.py).

    `sqlite:///FILE`; `postgres-local[:DIR]`, a PostgreSQL server of this machine's own (storage/postgres.py);
    `postgresql://...`, or what else SQLAlchemy reads; `grpc://HOST:PORT`, a proxy (storage/proxy_client.py).

    Raises StorageError where the URL cannot be read, the server not be reached, or the tables are another version's; what
    `database_failure` knows where the file is right and the machine fails: the disk is full, somebody locks the database.
    """
    kind, colon, rest = url.partition(":")
    if kind == "grpc":
        from storage.proxy_client import connect

        return connect(rest, patience_s)
    parsed, secrets = (None, {}) if kind == LOCAL else _read(url)
    shown = url if parsed is None else parsed.render_as_string()
    try:
        if parsed is None:
            parsed = _local(rest if colon else LOCAL_FOLDER)
        if parsed.get_backend_name() == "sqlite":
            return _database(_sqlite(url, parsed.database), patience_s)
        return _database(_server(parsed, secrets), patience_s)
    except (SQLAlchemyError, sqlite3.Error, StorageInternalError, ImportError) as why:
        if getattr(origin(why), "sqlite_errorcode", 0) & 0xFF in _FAILURES:
            raise
        way_out = "check that it is there and that you may write to it"
        raise StorageError(f"cannot open {shown}: {first_line(why)}: {way_out}") from why
    except OSError as why:
        raise StorageError(f"cannot open {shown}: {why.strerror or why}: choose a folder that can be written to") from why
    except RuntimeError as why:  # Optuna's word for tables of another version, with the way out
        raise StorageError(f"cannot use {shown}: {first_line(why)}") from why


def stop_retrying(storage: optuna.storages.BaseStorage) -> None:
    """Let its operations wait no longer: somebody wants to end."""
    storage.patience_s = 1.0  # type: ignore[attr-defined]
    tables = tables_of(storage)
    if isinstance(tables, Tables):
        tables.hurried = True


def only_look(storage: optuna.storages.BaseStorage) -> None:
    """For a program that looks and seldom writes: what it reads locks no file, and what it writes is tried again if need be."""
    tables = tables_of(storage)
    if isinstance(tables, Tables):
        tables.looks = True


class Tables(optuna.storages.RDBStorage):
    """Optuna's tables, closed where they cannot be opened."""

    hurried = False  # somebody wants to end: a locked file is waited for no longer
    looks = False  # see `only_look`

    def __init__(self, url: str, engine: dict[str, Any]) -> None:
        try:
            super().__init__(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=engine)  # Optuna formats it
        except BaseException:  # raised again: Ctrl-C, too, must leave no connection open
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise


@patient
class Database(CachedTables):
    """Optuna's tables behind its cache; an operation is repeated for `patience_s` seconds."""

    patience_s = 60.0


def _database(tables: Tables, patience_s: float) -> Database:
    database = Database(tables)
    database.patience_s = patience_s
    return database


def _local(folder: str) -> URL:
    if not folder:
        raise StorageError(f"need a folder after {LOCAL}: write {LOCAL}:{LOCAL_FOLDER}")
    from storage.postgres import start

    return start(Path(folder))


def _read(url: str) -> tuple[URL, dict[str, str]]:
    """The URL, and apart from it the secrets of its query, which SQLAlchemy would show."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise StorageError(f"need a storage URL such as {EXAMPLES}") from None  # what could not be read may be a password
    if parsed.get_backend_name() != "sqlite" and url.count("@") > 1:
        raise StorageError("need a storage URL with one @: write %40 for those of a user's name, a password or an option")
    secrets = {name: value[-1] for name, value in parsed.normalized_query.items() if name in SECRETS}
    return parsed.difference_update_query(secrets), secrets


def _server(parsed: URL, secrets: dict[str, str]) -> Tables:
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    lively = POSTGRESQL if parsed.drivername == "postgresql+psycopg" else {}
    more = {name: value for name, value in lively.items() if name not in parsed.query}
    engine = {"pool_pre_ping": True, "pool_recycle": 1_800, "connect_args": {**more, **secrets}}
    return _tables(parsed.render_as_string(hide_password=False), engine)


def _sqlite(url: str, database: str | None) -> Tables:
    if not database or database == ":memory:":
        raise StorageError(f"need a file for the study to survive in, got {url}: write sqlite:///FILE")
    path = Path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # stays with the file
    connection.close()
    rdb = _tables(url, {"connect_args": {"timeout": BUSY_SECONDS}})
    file = os.stat(path)

    @event.listens_for(rdb.engine, "connect")
    def _quick(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin only when something is written, see below
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL a crash of the machine may cost the last commit, no more

    @event.listens_for(rdb.engine, "begin")
    def _alone(connection: Any) -> None:
        # Optuna looks whether a trial still waits and then takes it. SQLite ignores the lock that it asks for in between, and
        # two workers would run one trial.
        connection.connection.dbapi_connection.execute("BEGIN" if rdb.looks else "BEGIN IMMEDIATE")

    @event.listens_for(rdb.engine, "checkout")
    def _still_there(connection: sqlite3.Connection, *_: object) -> None:
        # An open file outlives its name: without this, hours of trials would go into a database that nobody can open.
        if not path.exists() or not os.path.samestat(file, os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, "the database was deleted or moved while the study ran", str(path))
        if rdb.hurried:
            connection.execute("PRAGMA busy_timeout=1000")

    rdb.engine.dispose()  # the connection from before the listeners
    return rdb


def _tables(url: str, engine: dict[str, Any]) -> Tables:
    """Optuna makes missing tables without a lock: of workers that start at once, one may meet what another has half made."""
    for _ in range(20):
        try:
            return Tables(url, engine)
        except SQLAlchemyError as why:
            if not isinstance(why, IntegrityError) and "already exists" not in str(why):
                raise
            time.sleep(0.1)
    return Tables(url, engine)
