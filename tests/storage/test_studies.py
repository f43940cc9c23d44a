"""Opening a database: what is missing is made, what is wrong is said, and no password is shown."""
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import optuna
import pytest
import sqlalchemy as sa

from storage.studies import StorageError, open_storage


def test_sqlite_is_made_in_wal_with_a_busy_timeout(tmp_path: Path) -> None:
    file = tmp_path / "a folder" / "исследование.db"
    storage = open_storage(f"sqlite:///{file}")
    study = optuna.create_study(storage=storage, study_name="s")
    study.tell(study.ask(), 1.0)
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    engine = storage._backend.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 1
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 30_000
    again = optuna.load_study(storage=open_storage(f"sqlite:///{file}"), study_name="s")
    assert again.best_value == 1.0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "need a storage URL such as sqlite:///"),
        ("sqlite://", "need a file for the study to survive in"),
        ("sqlite:///:memory:", "need a file for the study to survive in"),
        ("postgresql://me:geheim@127.0.0.1:1/x", "cannot open postgresql"),
        ("postgresql://me:geheim@127.0.0.1:1/x", "://me:***@127.0.0.1:1/x"),
        ("foo://bar", "cannot open foo://bar"),
        ("sqlite:////dev/null/x.db", "choose a folder that can be written to"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, words: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert words in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("these are not the tables that you look for " * 50)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path}/x.db")


def test_a_database_of_another_version(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/x.db")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
        connection.execute("UPDATE version_info SET schema_version = 3")
    with pytest.raises(StorageError, match="optuna storage upgrade"):
        open_storage(f"sqlite:///{tmp_path}/x.db")


def test_workers_that_ask_at_once_never_get_the_same_trial(tmp_path: Path) -> None:
    """Recipes, repairs and released points wait for whoever asks first. Each thread has a database connection of its own."""
    url = f"sqlite:///{tmp_path}/study.db"
    rounds, workers = 20, 3
    waiting = optuna.create_study(storage=open_storage(url), study_name="s")
    for i in range(rounds * workers):
        waiting.enqueue_trial({"x": i})
    together = Barrier(workers)

    def ask() -> list[int]:
        study = optuna.load_study(storage=open_storage(url), study_name="s")
        numbers = []
        for _ in range(rounds):
            together.wait(timeout=60)
            numbers.append(study.ask().number)
        return numbers

    with ThreadPoolExecutor(workers) as pool:
        asked = [number for future in [pool.submit(ask) for _ in range(workers)] for number in future.result()]
    assert sorted(asked) == list(range(rounds * workers))
