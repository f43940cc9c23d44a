"""A database that is away costs a while, one that refuses is not asked again, and an answer that is lost spoils nothing."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

import storage.studies
from storage.errors import StorageError, database_failure
from tests.storage.servers import Proxy, Wire

Open = Callable[..., BaseStorage]
FOREVER_S = 120.0
SECRET = "geh:eim/?#{ß%"


@pytest.fixture
def later(away: threading.Event) -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Does something as soon as an operation waits for it."""
    threads = []

    def begin(action: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            if away.wait(timeout=60):
                action()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield begin
    for thread in threads:
        thread.join()


@pytest.fixture
def wire(postgres: Path) -> Iterator[Wire]:
    with closing(Wire(postgres / "data" / ".s.PGSQL.5432")) as wire:
        yield wire


def test_postgres_is_stopped_and_started(
    postgres: Path, name: str, opened: Open, away: threading.Event, later: Callable[..., threading.Thread]
) -> None:
    from storage.postgres import start, stop

    study = optuna.create_study(storage=opened(f"postgres-local:{postgres}", FOREVER_S), study_name=name)
    trial = study.ask()
    for step, operation in enumerate((lambda: trial.report(1.0, 0), lambda: study.tell(trial, 1.0), study.ask)):
        away.clear()
        assert stop(postgres)
        later(lambda: start(postgres))
        operation()
        assert away.is_set(), f"operation {step} never saw the server away"
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert study.trials[0].intermediate_values == {0: 1.0}


def test_connections_that_were_dropped_are_replaced(postgres: Path, psql: psycopg.Connection, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(f"postgres-local:{postgres}", 0.0), study_name=name)
    trial = study.ask()
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    assert psql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}").fetchall()
    trial.report(1.0, 1)
    assert study.trials[0].intermediate_values == {1: 1.0}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.studies, "BUSY_SECONDS", 0.02)


@pytest.mark.usefixtures("short")
def test_sqlite_is_locked_and_released(tmp_path: Path, opened: Open, later: Callable[..., threading.Thread]) -> None:
    study = optuna.create_study(storage=opened(f"sqlite:///{tmp_path}/x.db", FOREVER_S))
    trial = study.ask()
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    later(holder.rollback)
    trial.report(1.0, 1)
    holder.close()
    assert study.trials[0].intermediate_values == {1: 1.0}


@pytest.mark.usefixtures("short")
def test_patience_ends_with_the_drivers_own_error(tmp_path: Path, opened: Open, away: threading.Event) -> None:
    kept = opened(f"sqlite:///{tmp_path}/x.db", 2.0)
    study = optuna.create_study(storage=kept)
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        study.ask()
    assert database_failure(locked.value) == "the database: database is locked"
    assert away.is_set()
    away.clear()
    kept.patience_s = 0.0  # type: ignore[attr-defined]
    with pytest.raises(sqlite3.OperationalError):
        study.ask()
    assert not away.is_set()
    holder.close()


@pytest.mark.parametrize("kill", [True, False])
def test_the_proxy_is_stopped_and_started(
    proxy: Proxy, name: str, opened: Open, later: Callable[..., threading.Thread], kill: bool
) -> None:
    study = optuna.create_study(storage=opened(proxy.url, FOREVER_S), study_name=name)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    proxy.stop(kill)
    later(proxy.start)
    trial.suggest_float("y", 0, 1)  # of a trial that the new proxy has never seen
    trial.report(1.0, 1)
    study.tell(trial, 1.0)
    (read,) = study.trials
    assert (set(read.params), read.value, read.intermediate_values) == ({"x", "y"}, 1.0, {1: 1.0})


def test_a_proxy_that_stays_away_is_named(proxy: Proxy, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(proxy.url, 0.3), study_name=name)
    proxy.stop()
    with pytest.raises(Exception, match="UNAVAILABLE") as gone:
        study.ask()
    proxy.start()
    sentence = database_failure(gone.value)
    assert sentence is not None
    assert sentence.startswith("the database: failed to connect to all addresses")
    assert "\n" not in sentence


def test_a_missing_table_is_no_outage(tmp_path: Path, opened: Open, away: threading.Event) -> None:
    study = optuna.create_study(storage=opened(f"sqlite:///{tmp_path}/x.db", FOREVER_S))
    trial = study.ask()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("DROP TABLE trial_intermediate_values")
    connection.close()
    with pytest.raises(StorageInternalError) as missing:
        trial.report(1.0, 1)
    assert database_failure(missing.value) == "the database: no such table: trial_intermediate_values"
    assert not away.is_set()


@pytest.mark.parametrize(
    ("change", "words"),
    [("PASSWORD 'another'", "password authentication failed"), ("NOLOGIN", 'role "tuner" is not permitted to log in')],
)
def test_a_refusal_is_no_outage(
    postgres: Path,
    psql: psycopg.Connection,
    wire: Wire,
    name: str,
    opened: Open,
    away: threading.Event,
    change: str,
    words: str,
) -> None:
    url = _url(psql, postgres, wire)
    study = optuna.create_study(storage=opened(url, FOREVER_S), study_name=name)
    psql.execute(f"ALTER ROLE tuner {change}")
    psql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tuner'")
    with pytest.raises(StorageInternalError) as refused:
        study.ask()
    assert not away.is_set()
    sentence = database_failure(refused.value)
    assert sentence is not None
    assert words in sentence
    with pytest.raises(StorageError, match=words) as closed:
        opened(url)
    why: BaseException | None = closed.value
    while why is not None:
        assert "eim" not in str(why) + repr(why)
        why = why.__cause__


def test_an_answer_that_is_lost_spoils_nothing(
    postgres: Path, psql: psycopg.Connection, wire: Wire, name: str, opened: Open
) -> None:
    """The connection breaks when PostgreSQL says "committed": what was asked for is done, and nobody here knows."""
    kept = opened(_url(psql, postgres, wire), FOREVER_S)

    def losing(method: str, *arguments: object) -> object:
        wire.cut()
        try:
            return getattr(kept, method)(*arguments)
        finally:
            assert wire.lost

    study = losing("create_new_study", [StudyDirection.MINIMIZE], name)
    first, second = kept.create_new_trial(study), kept.create_new_trial(study)
    losing("set_trial_param", first, "x", 0.5, FloatDistribution(0, 1))
    losing("set_trial_intermediate_value", first, 1, 0.25)
    losing("set_trial_user_attr", first, "beat", 3)
    assert losing("set_trial_state_values", first, TrialState.COMPLETE, [1.5]) is True
    read = kept.get_trial(first)
    assert (read.params, read.intermediate_values, read.user_attrs) == ({"x": 0.5}, {1: 0.25}, {"beat": 3})
    assert (read.state, read.values) == (TrialState.COMPLETE, [1.5])
    with pytest.raises(UpdateFinishedTrialError):  # the fence between two who release one trial
        losing("set_trial_state_values", second, TrialState.FAIL)
    optuna.load_study(storage=kept, study_name=name).enqueue_trial({"x": 0.1})
    assert losing("set_trial_state_values", kept.get_all_trials(study)[2]._trial_id, TrialState.RUNNING) is False
    wire.cut(b"trials_number")  # in the middle of a transaction
    assert [trial.state.name for trial in kept.get_all_trials(study)] == ["COMPLETE", "FAIL", "RUNNING"]
    assert wire.lost
    losing("delete_study", study)
    assert name not in [known.study_name for known in kept.get_all_studies()]


@pytest.mark.parametrize(("state", "theirs", "ours"), [("COMPLETE", [2.0], [1.0]), ("FAIL", None, None)])
def test_what_another_has_written_is_not_taken_for_ours(
    postgres: Path,
    psql: psycopg.Connection,
    wire: Wire,
    name: str,
    opened: Open,
    later: Callable[..., threading.Thread],
    state: str,
    theirs: list[float] | None,
    ours: list[float] | None,
) -> None:
    kept, other = opened(_url(psql, postgres, wire), FOREVER_S), opened(f"postgres-local:{postgres}")
    trial = kept.create_new_trial(kept.create_new_study([StudyDirection.MINIMIZE], name))
    mended: list[Wire] = []

    def mend() -> None:
        other.set_trial_state_values(trial, TrialState[state], theirs)
        mended.append(Wire(wire.path, wire.port))

    wire.close()
    later(mend)
    with pytest.raises(UpdateFinishedTrialError):
        kept.set_trial_state_values(trial, TrialState[state], ours)
    assert kept.get_trial(trial).values == theirs
    mended[0].close()


def _url(psql: psycopg.Connection, postgres: Path, wire: Wire) -> str:
    """Over the wire, as a user who needs a password."""
    from urllib.parse import quote_plus

    rules = postgres / "data" / "pg_hba.conf"
    if "tuner" not in rules.read_text():
        rules.write_text("local all tuner scram-sha-256\n" + rules.read_text())
        psql.execute("CREATE ROLE tuner LOGIN SUPERUSER")
        psql.execute("SELECT pg_reload_conf()")
    psql.execute(psycopg.sql.SQL("ALTER ROLE tuner LOGIN PASSWORD {}").format(SECRET))
    return f"postgresql://tuner@127.0.0.1:{wire.port}/postgres?password={quote_plus(SECRET)}"
