"""A study in MLflow, read back with its own client: metrics, descriptions, states of runs."""

import fcntl
import shutil
from itertools import islice
from pathlib import Path

import pytest
from mlflow import MlflowClient

from objective.events.log_reader import StudyLog
from objective.events.log_writer import JsonLines
from objective.events.types import Resumed
from objective.mlflow import main
from objective.views.descriptions import of_study
from objective.views.mlflow_runs import EXPERIMENT, NOTE, MlflowRuns
from storage.paths import ARTIFACT_FILES
from tests.objective import samples
from tests.objective.views.mlflow_reader import assert_equal_to_the_lines, expected, held, show, shown
from tests.objective.watched import growing, reports

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own affair with SQLAlchemy
    pytest.mark.usefixtures("mlflow_defaults"),
]
WRITES = ("create_run", "log_batch", "log_artifact", "update_run", "set_terminated")


def test_every_metric_of_every_trial_is_read_back_as_the_lines_have_it(study: Path, uri: str) -> None:
    view = shown(study, uri)
    runs = held(uri)
    assert_equal_to_the_lines(runs, study)
    statuses = [runs[name]["status"] for name in ("trial 0", "trial 2", "trial 3", study.name)]
    assert statuses == ["FINISHED", "KILLED", "KILLED", "FINISHED"]
    assert [len(reports(study, number)) for number in (0, 2, 3)] == [4, 3, 3]
    (value,) = (metric for metric in runs["trial 0"]["metrics"] if metric[0] == "value")
    judged = [report for report in reports(study, 0) if report["free"]["value"] is not None]
    assert value[1:3] == (12, min(expected(report)["validation.loss"] for report in judged))
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
    ended = [run for run in view._runs.values() if run.status != "RUNNING"]
    assert len(ended) > 2
    assert all(run.metrics is None for run in ended), "thousands of trials would need hundreds of megabytes"


def test_the_experiment_and_every_run_have_a_description(study: Path, uri: str) -> None:
    shown(study, uri)
    experiment = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development", "or MLflow 3 asks what it is for"
    assert "one for each configuration" in experiment.tags[NOTE]
    notes = {name: run["tags"][NOTE] for name, run in held(uri).items()}
    assert notes[study.name].startswith("**finished**: 3 of 3 trials in ")
    assert "No healthy trial yet" in notes[study.name]
    assert notes["trial 0"].startswith("**sick**, value ")
    assert notes["trial 2"].startswith("**pruned by diagonality**, value ")
    assert "\n\n> diagonality " in notes["trial 2"]
    for note in (notes["trial 0"], notes["trial 2"]):
        assert "of 12 kframes in " in note
        assert "| learning_rate | 0.00" in note


def test_what_was_said_and_heard_is_in_descriptions_and_tags(tmp_path: Path, uri: str) -> None:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.study_started(), samples.trial_started(5), samples.reported(5), samples.misheard(5)):
        sink.emit(event)
    closest = of_study(read_log(sink.folder), "killed")
    assert (
        "No healthy trial yet. The closest is trial 5: 73% of letters heard wrong (recordings 0.2%), target at most 10%"
        in closest
    )
    sink.emit(samples.trial_started(6))
    sink.emit(samples.trial_ended(6))
    sink.emit(samples.study_ended())
    shown(sink.folder, uri)
    runs = held(uri)
    assert runs["trial 6"]["tags"]["tacotune.heard"] == samples.SPOKEN["heard"]
    for note in (runs["trial 6"]["tags"][NOTE], runs["some"]["tags"][NOTE]):
        assert f"| middle | {samples.SPOKEN['text']} | {samples.SPOKEN['heard']} |" in note
        assert "4.1% of letters heard wrong (recordings 0.2%)" in note
    assert f"> {samples.MISHEARD}\n\n| sentence | said | heard |" in runs["trial 5"]["tags"][NOTE]


def read_log(folder: Path) -> StudyLog:
    study_log = StudyLog(folder)
    study_log.look()
    return study_log


def test_an_experiment_of_an_older_version_gets_what_it_lacks_and_keeps_what_a_person_wrote(tmp_path: Path, uri: str) -> None:
    client = MlflowClient(uri)
    number = client.create_experiment(EXPERIMENT, tags={NOTE: "mine"})
    sink = JsonLines(tmp_path / "some")
    sink.emit(samples.study_started())
    shown(sink.folder, uri)
    tags = client.get_experiment(number).tags
    assert (tags[NOTE], tags["mlflow.experimentKind"]) == ("mine", "custom_model_development")


def test_the_run_of_a_study_ends_with_its_command_and_runs_again_with_the_next(tmp_path: Path, uri: str) -> None:
    sink = JsonLines(tmp_path / "some")
    status = []

    def after(*events: object) -> MlflowRuns:
        for event in events:
            sink.emit(event)  # type: ignore[arg-type]
        view = shown(sink.folder, uri)
        status.append(held(uri)["some"]["status"])
        return view

    after(samples.study_started(), samples.trial_started(0))
    after(samples.study_ended(why="interrupted", finished=0))
    view = after(samples.study_started())
    assert status == ["RUNNING", "KILLED", "RUNNING"]
    view.command_lost("killed")
    run = held(uri)["some"]
    assert (run["status"], run["tags"]["tacotune.why"], run["tags"][NOTE][:10]) == ("KILLED", "killed", "**killed**")
    after()
    after(samples.study_started()).command_lost("the disk is full")
    assert status[3:] == ["KILLED", "RUNNING"], "a later view does not take it for running"
    assert held(uri)["some"]["status"] == "FAILED"
    after(samples.study_started(), samples.study_ended())
    assert status[5:] == ["FINISHED"]


@pytest.mark.parametrize("lines", [6, 1_000], ids=["while a trial runs", "at the end"])
def test_the_second_time_nothing_is_left_to_log(
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
    view = MlflowRuns(StudyLog(sink.folder), live, tmp_path)
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


def test_a_run_that_somebody_deleted_is_reported_and_holds_up_no_other(
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
    "a driver that is not installed": (["--uri", "mysql://me:geheim@127.0.0.1/x"], 2, "need the driver of mysql://me:***@"),
    "no server": (["--uri", "http://me:geheim@127.0.0.1:9"], 1, "no answer from http://me:***@127.0.0.1:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, code, sentence = BAD[case]
    assert main(["--study", study.name, "--out", str(study.parent), "--once", *more]) == code
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert "geheim" not in printed.out + printed.err


def test_one_at_a_time_which_says_how_to_open_it(study: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--study", study.name, "--out", str(study.parent), "--once", "--uri", uri]
    before = set(study.glob(".mlflow-*.lock"))
    assert main(arguments) == 0
    assert (
        f"mlflow server --backend-store-uri {uri}, then open http://127.0.0.1:5000/#/experiments/1?" in capsys.readouterr().out
    )
    (lock,) = set(study.glob(".mlflow-*.lock")) - before
    with lock.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert main(arguments) == 0
        assert "another process shows this study" in capsys.readouterr().err
