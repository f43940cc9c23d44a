"""The server of `postgres-local:DIR` outlives whoever started it, ends with the last one, and comes back after any killing."""

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
    """A process that uses the server until it is told to end."""

    def __init__(self, folder: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", USER, str(folder)], start_new_session=True, **pipes)
        self.trials = int(self.process.stdout.readline())

    def end(self, kill: bool = False) -> None:
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate("\n", timeout=60)


@pytest.fixture
def folder(place: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = place / f"db {request.node.name[5:30]}"
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


def test_it_ends_with_the_last_of_its_users(folder: Path, use: Callable[[], User]) -> None:
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


def test_what_a_killed_user_left_running_is_stopped_by_command(
    folder: Path, use: Callable[[], User], capsys: pytest.CaptureFixture[str]
) -> None:
    use().end(kill=True)
    assert postgres.main(["stop", str(folder)]) == 0
    assert postgres.main(["stop", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == ["stopped", f"no server runs in {folder}"]


@pytest.mark.parametrize("everything", [True, False])
def test_it_starts_again_after_it_was_killed(folder: Path, opened: Open, everything: bool) -> None:
    """Also where its number now belongs to another process: here to this one."""
    study = optuna.create_study(storage=opened(f"postgres-local:{folder}"))
    number = study.ask().number
    with connected(folder) as connection:
        backends = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity")]
    files = [folder / "data" / name for name in postgres.STALE]
    held = [file.read_text().split("\n") for file in files]
    for pid in [int(held[0][0]), *(backends if everything else [])]:
        with suppress(ProcessLookupError):  # it saw the first one die
            os.kill(pid, signal.SIGKILL)
    if everything:
        for file, lines in zip(files, held, strict=True):
            file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    postgres.start(folder)
    assert study.ask().number == number + 1


def test_a_making_that_was_killed_is_made_anew(folder: Path, use: Callable[[], User]) -> None:
    (folder / "data.part").mkdir(parents=True)
    (folder / "data.part" / "PG_VERSION").write_text("18\n")
    (folder / "lock").touch()
    assert use().trials == 1


def test_only_the_owner_reaches_it(folder: Path) -> None:
    postgres.start(folder)
    assert (folder / "data").stat().st_mode & 0o077 == 0
    with connected(folder) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_folder_that_will_not_do_is_refused(place: Path, opened: Open) -> None:
    (place / "taken").mkdir(exist_ok=True)
    (place / "taken" / "voice.wav").touch()
    refusals = {
        place / "taken": "holds something else than a database of postgres-local: choose an empty folder or a new one",
        place / ("long" * 30): "need a path of at most 10",
        place / "a,b": "choose another folder, or a short link to this one",
        place / "taken" / "voice.wav": "File exists: choose a folder that can be written to",
    }
    for folder, words in refusals.items():
        with pytest.raises(StorageError, match=words):
            opened(f"postgres-local:{folder}")
    with pytest.raises(StorageError, match="write postgres-local:runs/postgres"):
        opened("postgres-local:")
    assert sorted(file.name for file in (place / "taken").iterdir()) == ["voice.wav"]
    assert postgres.main(["stop", str(place / "taken")]) == 2


def test_a_database_of_another_postgres_is_named(folder: Path, opened: Open) -> None:
    postgres.start(folder)
    postgres.stop(folder)
    (folder / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(StorageError, match="database files are incompatible with server: mend that, or choose another folder"):
        opened(f"postgres-local:{folder}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_what_the_servers_user_cannot_reach_is_named(place: Path, opened: Open) -> None:
    (place / "closed").mkdir(mode=0o700)
    with pytest.raises(StorageError, match="Permission denied: for root it runs as the folder's owner, user"):
        opened(f"postgres-local:{place / 'closed' / 'db'}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_programs_in_a_place_of_roots_own_are_copied(
    folder: Path, place: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place / "home"
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
