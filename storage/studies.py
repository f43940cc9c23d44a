"""Open the database that holds the studies. SQLite runs in WAL with a busy timeout, so that a dashboard may read along."""
import sqlite3
from pathlib import Path

import optuna
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

BUSY_SECONDS = 30


class StorageError(RuntimeError):
    """The database cannot be used. The message says why, without passwords, and the way out."""


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """`sqlite:///FILE` or another URL that SQLAlchemy reads (`postgresql://...`). Creates what is missing.

    Raises StorageError where the URL cannot be read, the server not be reached, or the tables are another version's.
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
        return optuna.storages.get_storage(
            optuna.storages.RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=pooled)
        )
    except (SQLAlchemyError, sqlite3.Error, ImportError) as why:
        raise StorageError(f"cannot open {shown}: {_first_line(why)}") from why
    except OSError as why:
        raise StorageError(f"cannot open {shown}: {why.strerror or why}: choose a folder that can be written to") from why
    except RuntimeError as why:  # Optuna's word for tables of another version
        raise StorageError(f"cannot use {shown}: {_first_line(why)}: run `optuna storage upgrade --storage URL`") from why


def _sqlite(url: str, database: str | None) -> optuna.storages.BaseStorage:
    if not database or database == ":memory:":
        raise StorageError(f"need a file for the study to survive in, got {url}: write sqlite:///FILE")
    path = Path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # stays with the file
    connection.close()
    rdb = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})

    @event.listens_for(rdb.engine, "connect")
    def _quick(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL a crash of the machine may cost the last commit, no more

    rdb.engine.dispose()  # the connection from before the listener
    return optuna.storages.get_storage(rdb)


def _first_line(why: BaseException) -> str:
    origin = getattr(why, "orig", None) or why
    return str(origin).strip().splitlines()[0] if str(origin).strip() else type(origin).__name__
