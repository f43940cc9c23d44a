"""What the study asks of its storage, and every storage keeps: SQLite, PostgreSQL, and a proxy in front of one."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import optuna
import pytest
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from storage.errors import database_failure

Open = Callable[..., BaseStorage]
UNICODE = "ёлка 🎄 \u2028 'quoted' \\ %s {x}"


def test_a_trial_is_read_as_it_was_written(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    curve = {"steps": list(range(20_000)), UNICODE: [math.pi, 1e-300]}  # some 200 kB of JSON
    reports = {1: 0.25, 2: math.nan, 3: math.inf, 4: -math.inf, 10**6: 1e-12}
    study.set_user_attr(UNICODE, curve)
    trial = study.ask()
    params = {"rate": trial.suggest_float("rate", 1e-5, 1e-2, log=True), "size": trial.suggest_int("size", 1, 9)}
    params["kind"] = trial.suggest_categorical("kind", ["a", "ё", None])
    trial.set_user_attr("health", curve)
    trial.set_user_attr("health", curve | {"again": True})
    for step, value in reports.items():
        trial.report(value, step)
    trial.set_constraint("gate", -0.5)
    study.tell(trial, 1.25)
    again = optuna.load_study(storage=opened(url), study_name=name)
    (read,) = again.trials
    assert again.user_attrs == {UNICODE: curve}
    assert read.params == params
    assert read.user_attrs == {"health": curve | {"again": True}}
    assert read.constraints == {"gate": -0.5}
    assert (read.state, read.value) == (TrialState.COMPLETE, 1.25)
    assert read.intermediate_values == pytest.approx(reports, rel=0, nan_ok=True)
    assert again.best_trial.number == 0


def test_a_point_that_was_given_is_asked_for(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.enqueue_trial({"rate": 0.003}, user_attrs={"again_of": 7})
    trial = optuna.load_study(storage=opened(url), study_name=name).ask()
    assert trial.suggest_float("rate", 1e-5, 1e-2) == 0.003
    assert trial.user_attrs == {"again_of": 7}
    assert [known.state for known in study.trials] == [TrialState.RUNNING]


def test_a_trial_that_ended_refuses_everything(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    here, storage = study.ask(), opened(url)
    there = optuna.load_study(storage=storage, study_name=name)
    there.tell(here.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        here.report(1.0, 1)
    with pytest.raises(UpdateFinishedTrialError):
        here.set_user_attr("beat", 2)
    for state in (TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING):
        with pytest.raises(UpdateFinishedTrialError):
            storage.set_trial_state_values(here._trial_id, state, [1.0] if state == TrialState.COMPLETE else None)
    study.tell(here, 1.0, skip_if_finished=True)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_trial_is_taken_once(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.enqueue_trial({"x": 1})
    storages, number = [opened(url), opened(url)], study.trials[0]._trial_id
    assert [storage.set_trial_state_values(number, TrialState.RUNNING) for storage in storages] == [True, False]


def test_threads_that_ask_at_once_never_get_the_same_trial(url: str, name: str, opened: Open) -> None:
    """Recipes, repairs and released points wait for whoever asks first. Each thread has a storage of its own."""
    rounds, workers = 10, 3
    waiting = optuna.create_study(storage=opened(url), study_name=name)
    for i in range(rounds * workers):
        waiting.enqueue_trial({"x": i})
    studies = [optuna.load_study(storage=opened(url), study_name=name) for _ in range(workers)]
    together = Barrier(workers)

    def ask(study: optuna.Study) -> list[int]:
        numbers = []
        for _ in range(rounds):
            together.wait(timeout=60)
            numbers.append(study.ask().number)
        return numbers

    with ThreadPoolExecutor(workers) as pool:
        asked = [number for numbers in pool.map(ask, studies) for number in numbers]
    assert sorted(asked) == list(range(rounds * workers))


WORKER = """
import json, sys, optuna
from storage.studies import open_storage
study = optuna.load_study(storage=open_storage(sys.argv[1]), study_name=sys.argv[2])
said = study.user_attrs["said"]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(6):
    trial = study.ask()
    x = trial.suggest_float("x", 0, 100)
    trial.set_user_attr("heard", said)
    trial.report(x, 1)
    study.tell(trial, x)
"""


def test_processes_share_a_study(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.set_user_attr("said", UNICODE)
    for i in range(9):
        study.enqueue_trial({"x": i})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url, name], **pipes) for _ in range(3)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [(worker.communicate(timeout=60), worker.returncode)[1] for worker in workers] == [0, 0, 0]
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(18))
    assert [trial.value for trial in trials[:9]] == list(range(9))
    assert all(trial.state == TrialState.COMPLETE and trial.user_attrs == {"heard": UNICODE} for trial in trials)
    assert all(trial.intermediate_values == {1: trial.value} for trial in trials)


def test_a_study_is_made_once_and_missed_when_it_is_gone(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    with pytest.raises(DuplicatedStudyError):
        optuna.create_study(storage=opened(url), study_name=name)
    with pytest.raises(KeyError):
        optuna.load_study(storage=opened(url), study_name="another")
    optuna.delete_study(storage=opened(url), study_name=name)
    with pytest.raises(KeyError) as gone:
        study.ask()
    assert database_failure(gone.value) == "the study was deleted from its database"


def test_json_that_is_large_passes(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    large = "x" * 5_000_000  # above what gRPC allows unasked
    study.ask().set_user_attr("large", large)
    assert optuna.load_study(storage=opened(url), study_name=name).trials[0].user_attrs["large"] == large
    assert len(json.dumps(large)) > 4 << 20
