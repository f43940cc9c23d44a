"""The server of `postgres-local:DIR` ends with the last process that uses it, and restarts after it was killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.storages import BaseStorage

from storage.errors import StorageError

postgres = pytest.importorskip("storage.postgres", reason="PostgreSQL's socket and its locks need Unix")
Open = Callable[..., BaseStorage]
USER = """
import sys, optuna
from storage.studies import open_storage
study = optuna.create_study(storage=open_storage("postgres-local:" + sys.argv[1]), study_name="s", load_if_exists=True)
study.tell(study.ask(), 1.0)
print(len(study.trials), flush=True)
sys.stdin.readline()
"""


class User:
    """A process that uses the server until `end` is called."""

    def __init__(self, folder: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", USER, str(folder)], start_new_session=True, **pipes)
        self.trials = int(self.process.stdout.readline())

    def end(self, kill: bool = False) -> None:
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate("\n", timeout=60)


@pytest.fixture
def folder(postgres_root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = postgres_root / f"db {request.node.name[5:30]}"
    yield folder
    if (folder / "lock").exists():
        postgres.stop(folder)


@pytest.fixture
def use(folder: Path) -> Iterator[Callable[[], User]]:
    users = []

    def begin() -> User:
        users.append(User(folder))
        return users[-1]

    yield begin
    for user in users:
        if user.process.returncode is None:
            user.end(kill=True)


def test_the_server_ends_with_the_last_of_its_users(folder: Path, use: Callable[[], User]) -> None:
    first, second = use(), use()
    assert (first.trials, second.trials) == (1, 2)
    first.end(kill=True)
    third = use()
    assert third.trials == 3
    third.end()
    assert runs(folder)
    second.end()
    assert not runs(folder)
    assert use().trials == 4


def test_a_server_left_by_a_killed_user_is_stopped_by_command(
    folder: Path, use: Callable[[], User], capsys: pytest.CaptureFixture[str]
) -> None:
    use().end(kill=True)
    assert postgres.main(["stop", str(folder)]) == 0
    assert postgres.main(["stop", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == ["stopped", f"no server runs in {folder}"]


@pytest.mark.parametrize("everything", [True, False])
def test_the_server_restarts_after_it_was_killed(folder: Path, opened: Open, everything: bool) -> None:
    """Even where its process number now belongs to another process, here to this one."""
    study = optuna.create_study(storage=opened(f"postgres-local:{folder}"))
    number = study.ask().number
    with connected(folder) as connection:
        backends = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")]
    files = [folder / "data" / name for name in postgres.STALE]
    held = [file.read_text().split("\n") for file in files]
    for pid in [int(held[0][0]), *(backends if everything else [])]:
        with suppress(ProcessLookupError):  # it ended when the first one was killed
            os.kill(pid, signal.SIGKILL)
    if everything:
        for file, lines in zip(files, held, strict=True):
            file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    postgres.start(folder)
    assert study.ask().number == number + 1


def test_an_interrupted_initialisation_is_repeated(folder: Path, use: Callable[[], User]) -> None:
    (folder / "data.part").mkdir(parents=True)
    (folder / "data.part" / "PG_VERSION").write_text("18\n")
    (folder / "lock").touch()
    assert use().trials == 1


def test_only_the_owner_reaches_the_server(folder: Path) -> None:
    postgres.start(folder)
    assert (folder / "data").stat().st_mode & 0o077 == 0
    with connected(folder) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_an_unsuitable_folder_is_refused(postgres_root: Path, opened: Open) -> None:
    (postgres_root / "taken").mkdir(exist_ok=True)
    (postgres_root / "taken" / "voice.wav").touch()
    refusals = {
        postgres_root / "taken": "holds other files than a database of postgres-local: choose an empty folder or a new one",
        postgres_root / ("long" * 30): "need a path of at most 10",
        postgres_root / "a,b": "choose another folder, or a short link to this one",
        postgres_root / "taken" / "voice.wav": "File exists: choose a folder that can be written to",
    }
    for folder, message in refusals.items():
        with pytest.raises(StorageError, match=message):
            opened(f"postgres-local:{folder}")
    with pytest.raises(StorageError, match="write postgres-local:runs/postgres"):
        opened("postgres-local:")
    assert sorted(file.name for file in (postgres_root / "taken").iterdir()) == ["voice.wav"]
    assert postgres.main(["stop", str(postgres_root / "taken")]) == 2


def test_a_database_of_another_postgres_version_is_reported(folder: Path, opened: Open) -> None:
    postgres.start(folder)
    postgres.stop(folder)
    (folder / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(StorageError, match="database files are incompatible with server: fix that, or choose another folder"):
        opened(f"postgres-local:{folder}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_folder_that_the_servers_user_cannot_reach_is_reported(postgres_root: Path, opened: Open) -> None:
    (postgres_root / "closed").mkdir(mode=0o700)
    with pytest.raises(StorageError, match="Permission denied: started by root it runs as the folder's owner, user"):
        opened(f"postgres-local:{postgres_root / 'closed' / 'db'}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_programs_that_only_root_can_read_are_copied(
    folder: Path, postgres_root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = postgres_root / "home"
    home.mkdir(mode=0o700)
    for source in postgres._wheel().glob(f"{postgres.PACKAGE}*"):
        shutil.copytree(source, home / source.name)
    monkeypatch.setattr(postgres, "_wheel", lambda: home)
    opened(f"postgres-local:{folder}")
    assert runs(folder)
    assert (folder / "programs" / postgres.PACKAGE).exists()


def connected(folder: Path) -> psycopg.Connection:
    return psycopg.connect(host=str(folder / "data"), port=5432, user="postgres", dbname="postgres")


def runs(folder: Path) -> bool:
    try:
        connected(folder).close()
    except psycopg.OperationalError:
        return False
    return True
