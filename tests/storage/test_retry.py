"""An outage of the database costs only time, a refusal is not retried, and a lost answer does no harm."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote_plus

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
from storage.proxy import serve
from tests.storage.servers import Forwarder, Proxy

Open = Callable[..., BaseStorage]
FOREVER_S = 120.0
SECRET = "geh:eim/?#{ß%"


@pytest.fixture
def during_outage(outage: threading.Event) -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Start an action as soon as an operation is being retried."""
    threads = []

    def begin(action: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            if outage.wait(timeout=60):
                action()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield begin
    for thread in threads:
        thread.join()


@pytest.fixture
def forwarder(postgres: Path) -> Iterator[Forwarder]:
    with closing(Forwarder(postgres / "data" / ".s.PGSQL.5432")) as forwarder:
        yield forwarder


def test_operations_survive_a_restart_of_postgres(
    postgres: Path, name: str, opened: Open, outage: threading.Event, during_outage: Callable[..., threading.Thread]
) -> None:
    from storage.postgres import start, stop  # here, because it needs Unix

    study = optuna.create_study(storage=opened(f"postgres-local:{postgres}", FOREVER_S), study_name=name)
    trial = study.ask()
    for step, operation in enumerate((lambda: trial.report(1.0, 0), lambda: study.tell(trial, 1.0), study.ask)):
        outage.clear()
        assert stop(postgres)
        during_outage(lambda: start(postgres))
        operation()
        assert outage.is_set(), f"operation {step} never met the outage"
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert study.trials[0].intermediate_values == {0: 1.0}


def test_dropped_connections_are_replaced(postgres: Path, psql: psycopg.Connection, name: str, opened: Open) -> None:
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
def test_operations_survive_a_locked_sqlite_file(
    tmp_path: Path, opened: Open, during_outage: Callable[..., threading.Thread]
) -> None:
    study = optuna.create_study(storage=opened(f"sqlite:///{tmp_path}/x.db", FOREVER_S))
    trial = study.ask()
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    during_outage(holder.rollback)
    trial.report(1.0, 1)
    holder.close()
    assert study.trials[0].intermediate_values == {1: 1.0}


@pytest.mark.usefixtures("short")
def test_the_drivers_error_is_raised_when_retrying_ends(tmp_path: Path, opened: Open, outage: threading.Event) -> None:
    kept = opened(f"sqlite:///{tmp_path}/x.db", 2.0)
    study = optuna.create_study(storage=kept)
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        study.ask()
    assert database_failure(locked.value) == "the database: database is locked"
    assert outage.is_set()
    outage.clear()
    kept.retry_s = 0.0  # type: ignore[attr-defined]
    with pytest.raises(sqlite3.OperationalError):
        study.ask()
    assert not outage.is_set()
    holder.close()


@pytest.mark.parametrize("kill", [True, pytest.param(False, marks=pytest.mark.slow)])  # each starts a process
def test_operations_survive_a_restart_of_the_proxy(
    proxy: Proxy, name: str, opened: Open, during_outage: Callable[..., threading.Thread], kill: bool
) -> None:
    study = optuna.create_study(storage=opened(proxy.url, FOREVER_S), study_name=name)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    proxy.stop(kill)
    during_outage(proxy.start)
    trial.suggest_float("y", 0, 1)  # the new proxy has never seen this trial
    trial.report(1.0, 1)
    study.tell(trial, 1.0)
    (read,) = study.trials
    assert (set(read.params), read.value, read.intermediate_values) == ({"x", "y"}, 1.0, {1: 1.0})


def test_a_proxy_that_does_not_return_is_reported(tmp_path: Path, opened: Open) -> None:
    server, port = serve(opened(f"sqlite:///{tmp_path}/x.db"), "127.0.0.1", 0)
    study = optuna.create_study(storage=opened(f"grpc://127.0.0.1:{port}", 0.3))
    server.stop(None).wait()
    with pytest.raises(Exception, match="UNAVAILABLE") as unreachable:
        study.ask()
    sentence = database_failure(unreachable.value)
    assert sentence is not None
    assert sentence.startswith("the database: failed to connect to all addresses")
    assert "\n" not in sentence


def test_a_missing_table_is_not_retried(tmp_path: Path, opened: Open, outage: threading.Event) -> None:
    study = optuna.create_study(storage=opened(f"sqlite:///{tmp_path}/x.db", FOREVER_S))
    trial = study.ask()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("DROP TABLE trial_intermediate_values")
    connection.close()
    with pytest.raises(StorageInternalError) as missing:
        trial.report(1.0, 1)
    assert database_failure(missing.value) == "the database: no such table: trial_intermediate_values"
    assert not outage.is_set()


@pytest.mark.parametrize(
    ("change", "message"),
    [("PASSWORD 'another'", "password authentication failed"), ("NOLOGIN", 'role "tuner" is not permitted to log in')],
)
def test_a_refused_login_is_not_retried(
    postgres: Path,
    psql: psycopg.Connection,
    forwarder: Forwarder,
    name: str,
    opened: Open,
    outage: threading.Event,
    change: str,
    message: str,
) -> None:
    url = _url(psql, postgres, forwarder)
    study = optuna.create_study(storage=opened(url, FOREVER_S), study_name=name)
    psql.execute(f"ALTER ROLE tuner {change}")
    psql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tuner'")
    with pytest.raises(StorageInternalError) as refused:
        study.ask()
    assert not outage.is_set()
    sentence = database_failure(refused.value)
    assert sentence is not None
    assert message in sentence
    with pytest.raises(StorageError, match=message) as closed:
        opened(url)
    why: BaseException | None = closed.value
    while why is not None:
        assert "eim" not in str(why) + repr(why)
        why = why.__cause__


def test_a_lost_answer_does_no_harm(
    postgres: Path, psql: psycopg.Connection, forwarder: Forwarder, name: str, opened: Open
) -> None:
    """The connection breaks when PostgreSQL confirms a commit: the operation has taken effect, and this process cannot know."""
    kept = opened(_url(psql, postgres, forwarder), FOREVER_S)

    def without_answer(method: str, *arguments: object) -> object:
        forwarder.cut()
        try:
            return getattr(kept, method)(*arguments)
        finally:
            assert forwarder.lost

    study = without_answer("create_new_study", [StudyDirection.MINIMIZE], name)
    first, second = kept.create_new_trial(study), kept.create_new_trial(study)
    without_answer("set_trial_param", first, "x", 0.5, FloatDistribution(0, 1))
    without_answer("set_trial_intermediate_value", first, 1, 0.25)
    without_answer("set_trial_user_attr", first, "beat", 3)
    assert without_answer("set_trial_state_values", first, TrialState.COMPLETE, [1.5]) is True
    read = kept.get_trial(first)
    assert (read.params, read.intermediate_values, read.user_attrs) == ({"x": 0.5}, {1: 0.25}, {"beat": 3})
    assert (read.state, read.values) == (TrialState.COMPLETE, [1.5])
    with pytest.raises(UpdateFinishedTrialError):  # FAIL decides which of two workers releases a trial
        without_answer("set_trial_state_values", second, TrialState.FAIL)
    optuna.load_study(storage=kept, study_name=name).enqueue_trial({"x": 0.1})
    assert without_answer("set_trial_state_values", kept.get_all_trials(study)[2]._trial_id, TrialState.RUNNING) is False
    forwarder.cut(b"trials_number")  # in the middle of a transaction
    assert [trial.state.name for trial in kept.get_all_trials(study)] == ["COMPLETE", "FAIL", "RUNNING"]
    assert forwarder.lost
    without_answer("delete_study", study)
    assert name not in [summary.study_name for summary in kept.get_all_studies()]


@pytest.mark.parametrize(("state", "theirs", "ours"), [("COMPLETE", [2.0], [1.0]), ("FAIL", None, None)])
def test_the_state_written_by_another_process_is_not_taken_for_our_own(
    postgres: Path,
    psql: psycopg.Connection,
    forwarder: Forwarder,
    name: str,
    opened: Open,
    during_outage: Callable[..., threading.Thread],
    state: str,
    theirs: list[float] | None,
    ours: list[float] | None,
) -> None:
    kept, other = opened(_url(psql, postgres, forwarder), FOREVER_S), opened(f"postgres-local:{postgres}")
    trial = kept.create_new_trial(kept.create_new_study([StudyDirection.MINIMIZE], name))
    reconnected: list[Forwarder] = []

    def reconnect() -> None:
        other.set_trial_state_values(trial, TrialState[state], theirs)
        reconnected.append(Forwarder(forwarder.path, forwarder.port))

    forwarder.close()
    during_outage(reconnect)
    with pytest.raises(UpdateFinishedTrialError):
        kept.set_trial_state_values(trial, TrialState[state], ours)
    assert kept.get_trial(trial).values == theirs
    reconnected[0].close()


def _url(psql: psycopg.Connection, postgres: Path, forwarder: Forwarder) -> str:
    """A URL through the forwarder, for a user with a password."""
    rules = postgres / "data" / "pg_hba.conf"
    if "tuner" not in rules.read_text():
        rules.write_text("local all tuner scram-sha-256\n" + rules.read_text())
        psql.execute("CREATE ROLE tuner LOGIN SUPERUSER")
        psql.execute("SELECT pg_reload_conf()")
    psql.execute(psycopg.sql.SQL("ALTER ROLE tuner LOGIN PASSWORD {}").format(SECRET))
    return f"postgresql://tuner@127.0.0.1:{forwarder.port}/postgres?password={quote_plus(SECRET)}"
