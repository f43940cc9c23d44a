"""Opening a database: a missing one is created, mistakes are explained, and no password is shown."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import psycopg
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage

from storage import studies
from storage.errors import StorageError
from storage.lookup import existing_study
from storage.studies import open_storage


def test_sqlite_is_created_in_wal_mode_with_a_busy_timeout(tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "исследование.db"
    storage = open_storage(f"sqlite:///{file}")
    study = optuna.create_study(storage=storage, study_name="s")
    study.tell(study.ask(), 1.0)
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    engine = storage._backend.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 30_000
    reloaded = optuna.load_study(storage=open_storage(f"sqlite:///{file}"), study_name="s")
    assert reloaded.best_value == 1.0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "need a storage URL such as sqlite:///"),
        ("sqlite://", "need a file that keeps the study"),
        ("sqlite:///:memory:", "need a file that keeps the study"),
        ("postgresql://me:geheim@127.0.0.1:1/x", "cannot open postgresql"),
        ("postgresql://me:geheim@127.0.0.1:1/x", "://me:***@127.0.0.1:1/x"),
        ("postgres://me@127.0.0.1:1/x?password=geheim&sslpassword=geheim", "cannot open postgres://me@127.0.0.1:1/x: "),
        ("postgresql://me:geheim@127.0.0.1:1/x?foo=bar", 'invalid connection option "foo"'),
        ("postgresql://me:{geheim}@127.0.0.1:1/x", "Connection refused"),
        ("postgresql://me:p@geheim/x@127.0.0.1/x", "write %40 for an @ in a user's name, a password or an option"),
        ("postgresql://me:geheim", "need a storage URL such as sqlite:///"),
        ("mysql://me:geheim@127.0.0.1/x", "cannot open mysql://me:***@127.0.0.1/x: "),
        ("foo://bar", "cannot open foo://bar"),
        ("sqlite:////dev/null/x.db", "choose a folder that can be written to"),
    ],
)
def test_errors_are_explained_without_the_password(url: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert message in str(caught.value)
    why: BaseException | None = caught.value
    assert "\n" not in str(why)
    while why is not None:
        assert "geheim" not in f"{why} {why!r}"
        why = why.__cause__


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is not a database " * 50)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path}/x.db")


AGE = "UPDATE alembic_version SET version_num = 'v0.9.0.a'", "UPDATE version_info SET schema_version = 3"


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/x.db")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        for statement in AGE:
            connection.execute(statement)
    with pytest.raises(StorageError, match="optuna storage upgrade"):
        open_storage(f"sqlite:///{tmp_path}/x.db")


def test_a_postgres_database_that_is_old_missing_or_forbidden_is_refused(
    postgres: Path, psql: psycopg.Connection, opened: Callable[..., BaseStorage]
) -> None:
    psql.execute("CREATE DATABASE old")
    psql.execute("CREATE ROLE guest LOGIN")
    url = f"postgresql://postgres@:5432/old?host={postgres}/data"
    opened(url)
    with psycopg.connect(host=f"{postgres}/data", port=5432, user="postgres", dbname="old") as connection:
        for statement in AGE:
            connection.execute(statement)
    for wrong, message in (
        (url, "optuna storage upgrade"),
        (url.replace("/old", "/none"), 'database "none" does not exist: check that it exists'),
        (url.replace("postgres@", "guest@"), "permission denied for .*: check that it exists and that you may write to it"),
    ):
        with pytest.raises(StorageError, match=message):
            opened(wrong)


def test_a_database_file_may_have_any_name(tmp_path: Path, opened: Callable[..., BaseStorage]) -> None:
    optuna.create_study(storage=opened(f"sqlite:///{tmp_path}/run{{1}} @home.db"))
    assert (tmp_path / "run{1} @home.db").exists()


def test_a_viewer_blocks_no_worker_and_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reads while the other writes. A worker's reads do lock, so that no two workers take one trial."""
    monkeypatch.setattr(studies, "BUSY_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/x.db"
    worker = optuna.create_study(storage=open_storage(url, 0.05), study_name="s")
    viewer = existing_study(url, "s")
    for reader, writer in ((viewer, worker), (worker, viewer)):
        with reader._storage._backend.engine.begin() as reading:  # type: ignore[attr-defined]
            assert reading.execute(sa.text("SELECT count(*) FROM studies")).scalar() == 1
            if reader is viewer:
                writer.set_user_attr("who", "worker")
            else:
                monkeypatch.setattr(writer._storage, "retry_s", 0.05)
                with pytest.raises(StorageInternalError):
                    writer.set_user_attr("who", "viewer")
    viewer.set_user_attr("who", "viewer")
    assert worker.user_attrs == {"who": "viewer"}


def test_two_concurrent_writes_both_take_effect(tmp_path: Path) -> None:
    """A worker writes between a viewer's read and its write: SQLite refuses the viewer's write, which is then retried."""
    url = f"sqlite:///{tmp_path}/x.db"
    worker = optuna.create_study(storage=open_storage(url), study_name="s")
    viewer = existing_study(url, "s")
    between: list[str] = []

    def write(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT"):
            between.append(statement)
            if len(between) == 1:
                worker.set_user_attr("worker", 1)

    sa.event.listen(viewer._storage._backend.engine, "before_cursor_execute", write)  # type: ignore[attr-defined]
    viewer.set_user_attr("viewer", 2)
    assert len(between) == 2
    assert worker.user_attrs == {"worker": 1, "viewer": 2}
