"""Whoever runs a trial is known to live or to be dead, and a beat outlives a database that hiccups."""

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
    """The module's `time`, moved by hand."""

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
    """The signature of a process of this machine that is gone."""
    ask = "import json; from storage.leases import owner; print(json.dumps(owner()))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def signed(study: optuna.Study, signatures: dict[str, dict[str, object] | None]) -> dict[int, str]:
    names = {}
    for name, signature in signatures.items():
        trial = study.ask()
        names[trial.number] = name
        if signature is not None:
            trial.set_user_attr("owner", signature)
    return names


def test_the_dead_of_this_machine_are_known_at_once(dead: dict[str, object]) -> None:
    study = optuna.create_study()
    here = owner()
    names = signed(
        study,
        {
            "me": here,
            "dead": dead,
            "before a reboot": {**here, "machine": "m", "boot": "another"},
            "of a machine of this name": {**dead, "machine": "another"},
            "in another container": {**dead, "pids": "pid:[1]"},
            "elsewhere": {**dead, "host": "elsewhere"},
            "another process": {**here, "pid": 1, "started": leases._started(1)},
            "nobody's yet": None,
        },
    )
    watch = Watch(60.0)
    watch_here = {**here, "machine": "m"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "owner", lambda: here)
        alive, ended, mine = watch.look(study.get_trials(deepcopy=False))
        patch.setattr(leases, "owner", lambda: watch_here)
        _, after_reboot, _ = watch.look(study.get_trials(deepcopy=False))
    assert [names[trial.number] for trial in ended] == ["dead"]
    assert [names[trial.number] for trial in mine] == ["me"]
    others = ["before a reboot", "of a machine of this name", "in another container", "elsewhere", "another process"]
    assert [names[trial.number] for trial in alive] == [*others, "nobody's yet"]
    assert "before a reboot" in [names[trial.number] for trial in after_reboot]


def looked(watch: Watch, study: optuna.Study, clock: Clock, seconds: float, each: Callable[[], None] = lambda: None) -> int:
    """Look every five seconds; after how many of them somebody was dead, or 0."""
    for passed in range(5, int(seconds) + 1, 5):
        clock.now += 5
        each()
        if watch.look(study.get_trials(deepcopy=False))[1]:
            return passed
    return 0


def test_elsewhere_a_beat_that_stands_still_is_death(clock: Clock) -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    watch, beats = Watch(60.0), iter(range(1, 10_000))
    watch.look(study.get_trials(deepcopy=False))
    assert looked(watch, study, clock, 600, lambda: trial.set_user_attr("beat", next(beats))) == 0
    assert looked(watch, study, clock, 600) == 60


def test_who_never_signed_is_dead_after_a_while(clock: Clock) -> None:
    study = optuna.create_study()
    study.ask()
    watch = Watch(600.0)
    watch.look(study.get_trials(deepcopy=False))
    assert looked(watch, study, clock, 600) == leases.SIGNED_S


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_time_in_which_nobody_looked_kills_nobody(clock: Clock, jump: float) -> None:
    """A laptop that slept, a database that was away for days: the worker elsewhere may have beaten all the while."""
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    watch = Watch(60.0)
    watch.look(study.get_trials(deepcopy=False))
    clock.now += abs(jump)
    assert watch.look(study.get_trials(deepcopy=False))[1] == []


class Hiccups:
    """A storage whose first beats fail."""

    def __init__(self, study: optuna.Study, failures: int) -> None:
        self.storage, self.failures, self.beaten = study._storage, failures, threading.Event()
        self.first: object = None  # that came through

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


def nothing(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_beat_survives_a_database_that_hiccups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    study = optuna.create_study()
    trial = study.ask()
    storage = Hiccups(study, failures=3)
    study._storage = storage  # type: ignore[assignment]
    with Lease(study, trial, Watch(60.0), 60.0, nothing) as lease:
        assert storage.beaten.wait(20)
        lease.moved(1.0)
    assert storage.first == 4


def test_a_trial_that_somebody_ended_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    study = optuna.create_study()
    trial = study.ask()
    with Lease(study, trial, Watch(60.0), 60.0, nothing) as lease:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        lease._thread.join(20)
        with pytest.raises(UpdateFinishedTrialError):
            lease.moved(1.0)


def test_who_hangs_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    said: list[str] = []
    lease = Lease(study, study.ask(), Watch(60.0), 0.05, said.append)
    lease.moved(123.4)
    with lease:
        lease._thread.join(60)
    assert len(said) == 1
    assert re.fullmatch(r"no progress for \d+ s at 123 kframes", said[0])
