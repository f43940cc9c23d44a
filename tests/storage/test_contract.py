"""The contract between a study and its storage, for each kind: SQLite, PostgreSQL, and a proxy in front of PostgreSQL."""

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
    reloaded = optuna.load_study(storage=opened(url), study_name=name)
    (read,) = reloaded.trials
    assert reloaded.user_attrs == {UNICODE: curve}
    assert read.params == params
    assert read.user_attrs == {"health": curve | {"again": True}}
    assert read.constraints == {"gate": -0.5}
    assert (read.state, read.value) == (TrialState.COMPLETE, 1.25)
    assert read.intermediate_values == pytest.approx(reports, rel=0, nan_ok=True)
    assert reloaded.best_trial.number == 0


def test_an_enqueued_configuration_is_run_next(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.enqueue_trial({"rate": 0.003}, user_attrs={"again_of": 7})
    trial = optuna.load_study(storage=opened(url), study_name=name).ask()
    assert trial.suggest_float("rate", 1e-5, 1e-2) == 0.003
    assert trial.user_attrs == {"again_of": 7}
    assert [stored.state for stored in study.trials] == [TrialState.RUNNING]


def test_an_ended_trial_refuses_every_change(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    trial, storage = study.ask(), opened(url)
    elsewhere = optuna.load_study(storage=storage, study_name=name)
    elsewhere.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        trial.report(1.0, 1)
    with pytest.raises(UpdateFinishedTrialError):
        trial.set_user_attr("beat", 2)
    for state in (TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING):
        with pytest.raises(UpdateFinishedTrialError):
            storage.set_trial_state_values(trial._trial_id, state, [1.0] if state == TrialState.COMPLETE else None)
    study.tell(trial, 1.0, skip_if_finished=True)
    assert [stored.state for stored in study.trials] == [TrialState.FAIL]


def test_a_waiting_trial_is_taken_once(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.enqueue_trial({"x": 1})
    storages, number = [opened(url), opened(url)], study.trials[0]._trial_id
    assert [storage.set_trial_state_values(number, TrialState.RUNNING) for storage in storages] == [True, False]


def test_concurrent_threads_never_get_the_same_trial(url: str, name: str, opened: Open) -> None:
    """Recipes, repairs and retries wait for the first worker that is free. Each thread has its own storage."""
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
        taken = [number for numbers in pool.map(ask, studies) for number in numbers]
    assert sorted(taken) == list(range(rounds * workers))


WORKER = """
import json, sys, optuna
from storage.studies import open_storage
study = optuna.load_study(storage=open_storage(sys.argv[1]), study_name=sys.argv[2])
text = study.user_attrs["text"]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(9):
    trial = study.ask()
    x = trial.suggest_float("x", 0, 100)
    trial.set_user_attr("copy", text)
    trial.report(x, 1)
    study.tell(trial, x)
"""


def test_several_processes_share_a_study(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    study.set_user_attr("text", UNICODE)
    for i in range(9):
        study.enqueue_trial({"x": i})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url, name], **pipes) for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [(worker.communicate(timeout=60), worker.returncode)[1] for worker in workers] == [0, 0]
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(18))
    assert [trial.value for trial in trials[:9]] == list(range(9))
    assert all(trial.state == TrialState.COMPLETE and trial.user_attrs == {"copy": UNICODE} for trial in trials)
    assert all(trial.intermediate_values == {1: trial.value} for trial in trials)


def test_a_study_is_created_once_and_a_deleted_one_is_reported(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    with pytest.raises(DuplicatedStudyError):
        optuna.create_study(storage=opened(url), study_name=name)
    with pytest.raises(KeyError):
        optuna.load_study(storage=opened(url), study_name="another")
    optuna.delete_study(storage=opened(url), study_name=name)
    with pytest.raises(KeyError) as missing:
        study.ask()
    assert database_failure(missing.value) == "the study was deleted from its database"


def test_large_json_values_are_stored(url: str, name: str, opened: Open) -> None:
    study = optuna.create_study(storage=opened(url), study_name=name)
    large = "x" * 5_000_000  # above gRPC's default limit
    study.ask().set_user_attr("large", large)
    assert optuna.load_study(storage=opened(url), study_name=name).trials[0].user_attrs["large"] == large
    assert len(json.dumps(large)) > 4 << 20
