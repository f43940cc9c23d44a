"""Dead workers are distinguished from living ones, and heartbeats survive an unreliable database."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable

import optuna
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from storage import leases
from storage.leases import Lease, Watch, owner


class Clock:
    """A replacement for the module's `time`, advanced by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


@pytest.fixture(scope="module")
def dead() -> dict[str, object]:
    """The signature of a process of this machine that has ended."""
    code = "import json; from storage.leases import owner; print(json.dumps(owner()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def started(study: optuna.Study, signatures: dict[str, dict[str, object] | None]) -> dict[int, str]:
    names = {}
    for name, signature in signatures.items():
        trial = study.ask()
        names[trial.number] = name
        if signature is not None:
            trial.set_user_attr("owner", signature)
    return names


def test_dead_workers_of_this_machine_are_recognised_at_once(dead: dict[str, object]) -> None:
    study = optuna.create_study()
    here = owner()
    names = started(
        study,
        {
            "me": here,
            "dead": dead,
            "before a reboot": {**here, "machine": "m", "boot": "another"},
            "of a machine with this name": {**dead, "machine": "another"},
            "in another container": {**dead, "pids": "pid:[1]"},
            "elsewhere": {**dead, "host": "elsewhere"},
            "another process": {**here, "pid": 1, "started": leases._started(1)},
            "not signed yet": None,
        },
    )
    watch = Watch(60.0)
    watch_here = {**here, "machine": "m"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "owner", lambda: here)
        alive, ended, mine = watch.classify(study.get_trials(deepcopy=False))
        patch.setattr(leases, "owner", lambda: watch_here)
        _, after_reboot, _ = watch.classify(study.get_trials(deepcopy=False))
    assert [names[trial.number] for trial in ended] == ["dead"]
    assert [names[trial.number] for trial in mine] == ["me"]
    others = ["before a reboot", "of a machine with this name", "in another container", "elsewhere", "another process"]
    assert [names[trial.number] for trial in alive] == [*others, "not signed yet"]
    assert "before a reboot" in [names[trial.number] for trial in after_reboot]


def seconds_to_death(
    watch: Watch, study: optuna.Study, clock: Clock, limit: float, each: Callable[[], None] = lambda: None
) -> int:
    """Classify every five seconds; return the seconds after which a worker was dead, or 0 where none was within the limit."""
    for passed in range(5, int(limit) + 1, 5):
        clock.now += 5
        each()
        if watch.classify(study.get_trials(deepcopy=False))[1]:
            return passed
    return 0


def test_a_worker_of_another_machine_is_dead_when_its_heartbeat_stops(clock: Clock) -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    watch, beats = Watch(60.0), iter(range(1, 10_000))
    watch.classify(study.get_trials(deepcopy=False))
    assert seconds_to_death(watch, study, clock, 600, lambda: trial.set_user_attr("beat", next(beats))) == 0
    assert seconds_to_death(watch, study, clock, 600) == 60


def test_a_worker_that_never_signs_is_dead_after_a_while(clock: Clock) -> None:
    study = optuna.create_study()
    study.ask()
    watch = Watch(600.0)
    watch.classify(study.get_trials(deepcopy=False))
    assert seconds_to_death(watch, study, clock, 600) == leases.SIGNATURE_S


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_unobserved_time_does_not_count_towards_death(clock: Clock, jump: float) -> None:
    """After a laptop slept or the database was away for days, the other worker may have been alive all the time."""
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    watch = Watch(60.0)
    watch.classify(study.get_trials(deepcopy=False))
    clock.now += abs(jump)
    assert watch.classify(study.get_trials(deepcopy=False))[1] == []


class UnreliableStorage:
    """A storage whose first heartbeats fail."""

    def __init__(self, study: optuna.Study, failures: int) -> None:
        self.storage, self.failures, self.beaten = study._storage, failures, threading.Event()
        self.first: object = None  # the first heartbeat that was stored

    def set_trial_user_attr(self, trial_id: int, name: str, value: object) -> None:
        if name == "beat" and self.failures > 0:
            self.failures -= 1
            raise StorageInternalError("the server closed the connection")
        self.storage.set_trial_user_attr(trial_id, name, value)
        if name == "beat" and not self.beaten.is_set():
            self.first = value
            self.beaten.set()

    def __getattr__(self, name: str) -> object:
        return getattr(self.storage, name)


def unexpected(sentence: str) -> None:
    raise AssertionError(sentence)


def test_heartbeats_continue_after_the_database_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    study = optuna.create_study()
    trial = study.ask()
    storage = UnreliableStorage(study, failures=3)
    study._storage = storage  # type: ignore[assignment]
    with Lease(study, trial, Watch(60.0), 60.0, unexpected) as lease:
        assert storage.beaten.wait(20)
        lease.progressed(1.0)
    assert storage.first == 4


def test_a_lease_is_lost_when_another_program_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    study = optuna.create_study()
    trial = study.ask()
    with Lease(study, trial, Watch(60.0), 60.0, unexpected) as lease:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        lease._thread.join(20)
        with pytest.raises(UpdateFinishedTrialError):
            lease.progressed(1.0)


def test_a_hanging_worker_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    sentences: list[str] = []
    lease = Lease(study, study.ask(), Watch(60.0), 0.05, sentences.append)
    lease.progressed(123.4)
    with lease:
        lease._thread.join(60)
    assert len(sentences) == 1
    assert re.fullmatch(r"no progress for \d+ s at 123 kframes", sentences[0])
