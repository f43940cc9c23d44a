"""MLflow's own client reads back what the lines say, whoever was killed, restarted or away in between."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from objective.events.log_reader import StudyLog
from objective.events.log_writer import JsonLines
from objective.events.types import Resumed
from objective.mlflow import MANNERS, Mlflow, main
from objective.views.launcher import BESIDE
from storage.paths import ARTIFACT_FILES
from tests.objective import samples
from tests.objective.servers import mlflow_server
from tests.objective.small_study import ROOT
from tests.objective.watched import growing, reports, watched
from tests.processes import free_port, until

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own affair with SQLAlchemy
TERMS = ("mel_before", "mel_after", "gate")
WRITES = ("create_run", "log_batch", "log_artifact", "update_run", "set_terminated")


class Killed(BaseException):
    """As good as a SIGKILL: nothing in the project catches it."""


@pytest.fixture(scope="module")
def study(spoken: Path) -> Path:
    return watched(spoken)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without a run: making its tables takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def uri(empty: Path, tmp_path: Path) -> str:
    shutil.copyfile(empty, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(autouse=True)
def _manners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MANNERS.items():
        monkeypatch.setenv(name, value)


def shown(folder: Path, uri: str) -> Mlflow:
    """A view that was started, has shown all, and ended."""
    view = Mlflow(StudyLog(folder), uri, folder.parent)
    show(view)
    return view


def show(view: Mlflow) -> None:
    for number in view.study_log.look():
        view.show(number)


def held(uri: str) -> dict[str, dict[str, Any]]:
    """All that MLflow has, by the names of the runs; ids, which are drawn, are left out."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tacotune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(names), "no run is there twice"
    return {
        run.info.run_name: {
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "tags": run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "params": run.data.params,
            "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
            "metrics": sorted(
                (metric.key, metric.step, metric.value, metric.timestamp)
                for name in run.data.metrics
                for metric in client.get_metric_history(run.info.run_id, name)
            ),
        }
        for run in runs
    }


def expected(report: dict[str, Any]) -> dict[str, float]:
    """The ten numbers of a line, as the issue names them."""
    train, validation = (sum(report[part][name] for name in TERMS) for part in ("train", "validation"))
    health = report["health"]
    return {
        "training.loss": train,
        "validation.loss": validation,
        "grad.norm": report["gradients"]["median"],
        "alignment.diagonality": health["diagonality"],
        "alignment.score": health["alignment_score"],
        "alignment.coverage": health["coverage"],
        "alignment.focus": health["focus"],
        "gate.accuracy": health["gate_accuracy"],
        "overfitting.gap": (validation - train) / train,
        "learning_rate": report["learning_rate"],
    }


def assert_equal_to_the_lines(runs: dict[str, dict[str, Any]], study: Path) -> None:
    assert set(runs) == {study.name, "trial 0", "trial 2", "trial 3"}
    for number in (0, 2, 3):
        read = [metric[:3] for metric in runs[f"trial {number}"]["metrics"] if metric[0] != "value"]
        written = [
            (name, round(report["kframes"]), value)
            for report in reports(study, number)
            for name, value in expected(report).items()
        ]
        assert read == sorted(written)


def test_every_metric_of_every_trial_is_read_back_as_the_lines_have_it(study: Path, uri: str) -> None:
    shown(study, uri)
    runs = held(uri)
    assert_equal_to_the_lines(runs, study)
    assert [runs[name]["status"] for name in ("trial 0", "trial 2", "trial 3", study.name)] == [
        *("FINISHED", "KILLED", "KILLED", "FINISHED")
    ]
    assert [len(reports(study, number)) for number in (0, 2, 3)] == [4, 3, 3]
    (value,) = (metric for metric in runs["trial 0"]["metrics"] if metric[0] == "value")
    assert value[1:3] == (12, min(expected(report)["validation.loss"] for report in reports(study, 0)))
    tags = runs["trial 2"]["tags"]
    assert (tags["tacotune.state"], tags["tacotune.pruned_by"]) == ("PRUNED", "diagonality")
    assert tags["tacotune.reason"].endswith("< 0.99 in 1 of 1 validations since 9 kframes")
    assert tags["tacotune.origin"].endswith(", again after trial 1")
    assert tags["mlflow.parentRunId"] == tags["tacotune.study"] == study.name
    assert runs["trial 0"]["params"]["training.learning_rate"] == "0.002"
    assert set(runs["trial 0"]["files"]) == {*ARTIFACT_FILES, "config.yaml"}
    times = [metric[3] for metric in runs["trial 3"]["metrics"] if metric[0] == "validation.loss"]
    assert times == sorted(set(times))
    assert runs["trial 3"]["times"][0] <= times[0]


def test_of_a_run_that_has_ended_no_metric_is_kept_in_memory(study: Path, uri: str) -> None:
    """Thousands of trials would need hundreds of megabytes."""
    view = shown(study, uri)
    ended = [run for run in view._runs.values() if run.status != "RUNNING"]
    assert len(ended) > 2
    assert all(run.metrics is None for run in ended)


def test_who_watched_all_along_leaves_the_same_as_who_comes_later(study: Path, uri: str, empty: Path, tmp_path: Path) -> None:
    shown(study, uri)
    shutil.copyfile(empty, tmp_path / "live.db")
    live = f"sqlite:///{tmp_path}/live.db"
    view = Mlflow(StudyLog(tmp_path / study.name), live, tmp_path)
    statuses = set()
    for _ in growing(study, tmp_path / study.name):
        show(view)
        statuses |= {(name, run["status"]) for name, run in held(live).items()}
    assert held(live) == held(uri)
    assert {("trial 0", "RUNNING"), ("trial 1", "KILLED"), ("trial 2", "RUNNING")} <= statuses, "it was shown while it ran"


def test_who_is_started_anew_after_every_line_leaves_the_same(study: Path, uri: str, empty: Path, tmp_path: Path) -> None:
    shown(study, uri)
    shutil.copyfile(empty, tmp_path / "live.db")
    live = f"sqlite:///{tmp_path}/live.db"
    for _ in growing(study, tmp_path / study.name):
        shown(tmp_path / study.name, live)
    assert held(live) == held(uri)


def test_killed_after_any_word_to_mlflow_and_started_again_it_leaves_the_same(
    study: Path, uri: str, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(study, uri)
    shutil.copyfile(empty, tmp_path / "killed.db")
    left = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def word(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            answer = call(*arguments, **more)
            left -= 1
            if left == 0:
                raise Killed
            return answer

        return word

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    lives, done = 0, False
    while not done:
        lives += 1
        left = lives
        try:
            shown(study, f"sqlite:///{tmp_path}/killed.db")
            done = True
        except Killed:
            assert lives < 100
    monkeypatch.undo()
    assert lives > 10
    assert held(f"sqlite:///{tmp_path}/killed.db") == held(uri)


@pytest.mark.parametrize("lines", [6, 1_000], ids=["while a trial runs", "at the end"])
def test_the_second_time_nothing_is_left_to_say(
    lines: int, study: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in islice(growing(study, tmp_path / study.name), lines):
        pass
    shown(tmp_path / study.name, uri)
    before = held(uri)
    assert before["trial 0"]["metrics"]
    for name in WRITES:
        monkeypatch.delattr(MlflowClient, name)
    shown(tmp_path / study.name, uri)
    assert held(uri) == before


@pytest.mark.parametrize(
    ("reason", "status"),
    [("interrupted", "KILLED"), ("ended from outside while it ran", "KILLED"), ("OSError: no space left on device", "FAILED")],
)
def test_a_trial_that_a_person_ended_is_killed_and_one_that_broke_has_failed(
    tmp_path: Path, uri: str, reason: str, status: str
) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.study_started(), samples.trial_started(0), samples.reported(0)):
        sink.emit(event)
    sink.emit(samples.trial_ended(0, state="FAIL", value=None, reason=reason, last=None))
    shown(sink.folder, uri)
    run = held(uri)["trial 0"]
    assert (run["status"], run["tags"]["tacotune.reason"], run["tags"]["tacotune.state"]) == (status, reason, "FAIL")


def test_what_was_not_measured_is_left_out(tmp_path: Path, uri: str) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.trial_started(0), samples.reported(0, report=samples.report(health=samples.NOTHING))):
        sink.emit(event)
    shown(sink.folder, uri)
    names = {metric[0] for metric in held(uri)["trial 0"]["metrics"]}
    assert names == {"training.loss", "validation.loss", "grad.norm", "overfitting.gap", "learning_rate"}


def test_what_a_worker_reported_before_it_died_is_there_once(tmp_path: Path, uri: str, empty: Path) -> None:
    """Its snapshot was older, so the next one reports it again: at another second, and on a GPU with another last digit."""
    sink = JsonLines(tmp_path / "some")
    shutil.copyfile(empty, tmp_path / "live.db")
    live = f"sqlite:///{tmp_path}/live.db"
    view = Mlflow(StudyLog(sink.folder), live, tmp_path)
    sink.emit(samples.trial_started(0))
    for kframes in (10.0, 20.0, 30.0):
        sink.emit(samples.reported(0, kframes))
    show(view)
    sink.emit(samples.trial_started(1, origin="sampled, again after trial 0"))
    show(view)
    sink.emit(Resumed(1, 0, 10.0, (samples.report(10.0),)))
    sink.emit(samples.reported(1, report=samples.report(20.0, seconds=77.0)))
    sink.emit(samples.reported(1, report=samples.report(30.0, seconds=88.0, learning_rate=0.00100001)))
    show(view)
    shown(sink.folder, uri)
    metrics = held(uri)["trial 1"]["metrics"]
    assert [metric[1] for metric in metrics if metric[0] == "validation.loss"] == [10, 20, 30]
    assert [metric[1:3] for metric in metrics if metric[0] == "learning_rate"][2:] == [(30, 0.001), (30, 0.00100001)]
    assert held(live) == held(uri)


def test_a_run_that_somebody_deleted_is_said_and_holds_up_nobody(
    tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.study_started(), samples.trial_started(0), samples.trial_started(1)):
        sink.emit(event)
    view = shown(sink.folder, uri)
    client = MlflowClient(uri)
    (first,) = (run for run in client.search_runs(["1"]) if run.info.run_name == "trial 0")
    client.delete_run(first.info.run_id)
    for number in (0, 1):
        sink.emit(samples.reported(number))
    show(view)
    assert capsys.readouterr().err.count("not all of trial 0 is there") == 1
    assert held(uri)["trial 1"]["metrics"]
    assert "trial 0" not in held(uri)


def test_an_empty_mlflow_in_its_place_is_filled(study: Path, uri: str, empty: Path, tmp_path: Path) -> None:
    shown(study, uri)
    before = held(uri)
    shutil.copyfile(empty, tmp_path / "other.db")
    shown(study, f"sqlite:///{tmp_path}/other.db")
    assert held(f"sqlite:///{tmp_path}/other.db") == before


BAD = {
    "unknown study": (["--study", "wached"], 2, "choose one of"),
    "a folder": (["--uri", "mlruns"], 2, "no longer keeps runs in folders"),
    "nobody there": (["--uri", "http://me:geheim@127.0.0.1:9"], 1, "no answer from http://me:***@127.0.0.1:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_said_in_a_line(case: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, code, word = BAD[case]
    assert main(["--study", study.name, "--out", str(study.parent), "--once", *more]) == code
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert "geheim" not in said


def test_one_at_a_time(study: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--study", study.name, "--out", str(study.parent), "--once", "--uri", uri]
    before = set(study.glob(".mlflow-*.lock"))
    assert main(words) == 0
    (lock,) = set(study.glob(".mlflow-*.lock")) - before
    with lock.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert main(words) == 0
        assert "another process shows this study" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_has_everything_in_the_end(study: Path, empty: Path, tmp_path: Path) -> None:
    """The view beside a study that goes on meanwhile. It says twice what a person should know, and no more."""
    database = tmp_path / "server" / "mlflow.db"
    database.parent.mkdir()
    shutil.copyfile(empty, database)
    copy, port = tmp_path / study.name, free_port()
    lines = growing(study, copy)
    next(lines)
    words = ["--study", study.name, "--out", str(tmp_path), "--uri", f"http://127.0.0.1:{port}"]
    with mlflow_server(database, port):
        view = subprocess.Popen(
            [sys.executable, "-m", "objective.mlflow", *words],
            cwd=ROOT,
            env={**os.environ, BESIDE: "1"},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8):
            next(lines)
        client = MlflowClient(f"http://127.0.0.1:{port}")
        until(lambda: any(run.data.metrics for run in client.search_runs(["1"])))
    for _ in range(8):
        next(lines)
    assert view.stderr is not None
    said = [view.stderr.readline()]
    with mlflow_server(database, port) as address:
        for _ in lines:
            pass
        said.append(view.stderr.readline())
        _, rest = view.communicate("finished\n", timeout=60)
        assert (view.returncode, rest) == (0, "")
        assert_equal_to_the_lines(held(address), study)
        assert held(address)[study.name]["status"] == "FINISHED"
    assert f"no answer from http://127.0.0.1:{port}" in said[0]
    assert "there again, and up to date" in said[1]
