"""Open the database that holds the studies. SQLite runs in WAL with a busy timeout, so that a dashboard may read along."""
import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

BUSY_SECONDS = 30
_FAILURES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class StorageError(ValueError):
    """The database cannot be used. The message says why, without passwords, and the way out."""


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """`sqlite:///FILE` or another URL that SQLAlchemy reads (`postgresql://...`). Creates what is missing.

    Raises StorageError where the URL cannot be read, the server not be reached, or the tables are another version's; what
    `database_failure` knows where the file is right and the machine fails: the disk is full, somebody locks the database.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as why:
        raise StorageError("need a storage URL such as sqlite:///runs/studies.db or postgresql://user@host/name") from why
    shown = parsed.render_as_string(hide_password=True)
    try:
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(url, parsed.database)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        pooled = {"pool_pre_ping": True, "pool_recycle": 1_800}
        return optuna.storages.get_storage(_tables(parsed.render_as_string(hide_password=False), pooled))
    except (SQLAlchemyError, sqlite3.Error, StorageInternalError, ImportError) as why:
        if getattr(_origin(why), "sqlite_errorcode", 0) & 0xFF in _FAILURES:
            raise
        way_out = "check that it is there and that you may write to it"
        raise StorageError(f"cannot open {shown}: {_first_line(why)}: {way_out}") from why
    except OSError as why:
        raise StorageError(f"cannot open {shown}: {why.strerror or why}: choose a folder that can be written to") from why
    except RuntimeError as why:  # Optuna's word for tables of another version, with the way out
        raise StorageError(f"cannot use {shown}: {_first_line(why)}") from why


FAILURES = (StorageInternalError, SQLAlchemyError, sqlite3.Error, KeyError)  # of which `database_failure` may know


def database_failure(why: BaseException) -> str | None:
    """One sentence where the database failed under a running study: locked, full, damaged, deleted. None for anything else."""
    if isinstance(why, StorageInternalError | SQLAlchemyError | sqlite3.Error):
        return f"the database: {_first_line(why)}"
    if isinstance(why, KeyError) and why.args == ("Record does not exist.",):  # Optuna's, of a study or a trial
        return "the study was deleted from its database"
    return None


def _sqlite(url: str, database: str | None) -> optuna.storages.BaseStorage:
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
        connection.connection.dbapi_connection.execute("BEGIN IMMEDIATE")

    @event.listens_for(rdb.engine, "checkout")
    def _still_there(*_: object) -> None:
        # An open file outlives its name: without this, hours of trials would go into a database that nobody can open.
        if not path.exists() or not os.path.samestat(file, os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, "the database was deleted or moved while the study ran", str(path))

    rdb.engine.dispose()  # the connection from before the listeners
    return optuna.storages.get_storage(rdb)


def _tables(url: str, engine: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Optuna makes missing tables without a lock: of workers that start at once, one may meet what another has half made."""
    for _ in range(20):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=engine)
        except SQLAlchemyError as why:
            if not isinstance(why, IntegrityError) and "already exists" not in str(why):
                raise
            time.sleep(0.1)
    return optuna.storages.RDBStorage(url, engine_kwargs=engine)


def _first_line(why: BaseException) -> str:
    origin = _origin(why)
    text = str(origin).strip()
    return text.splitlines()[0] if text else type(origin).__name__


def _origin(why: BaseException) -> BaseException:
    """The driver's own error behind Optuna's and SQLAlchemy's."""
    cause = why.__cause__ if isinstance(why, StorageInternalError) and why.__cause__ else why
    return getattr(cause, "orig", None) or cause
