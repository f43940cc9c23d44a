"""Views that the study command starts: they learn why it ends, and one that fails is reported."""

import os
from pathlib import Path
from typing import Any

import pytest

from objective.events.log_writer import JsonLines
from objective.settings.schema import Settings
from objective.settings.views import VIEWS
from objective.views.launcher import Views, how_to_open, switched_on
from tests.objective import samples
from tests.processes import until


def settings(out: Path, **watch: Any) -> Settings:
    return Settings.model_validate({"study": {"name": "some"}, "watch": watch, "out": out})


def test_the_setting_of_each_view_switches_on_that_one_alone(tmp_path: Path) -> None:
    values = {"switch": True, "port": 8123, "text": "http://me:geheim@127.0.0.1:5000"}
    assert switched_on(settings(tmp_path)) == []
    for view in VIEWS.values():
        wanted = settings(tmp_path, **{view.name: values[view.kind]})
        assert switched_on(wanted) == [view]
        assert "geheim" not in repr(wanted) + str(wanted.dump()) + "".join(how_to_open(wanted, 7))


def test_how_to_open_the_views_is_one_line_each(tmp_path: Path) -> None:
    dashboard, mlflow, tensorboard = how_to_open(settings(tmp_path, dashboard=8080, mlflow="auto", tensorboard=True), 7)
    assert dashboard == "dashboard: http://127.0.0.1:8080/dashboard/studies/7"
    page = "http://127.0.0.1:5000/#/experiments/1?workflowType=machine_learning"
    assert mlflow.endswith(f"mlflow server --backend-store-uri sqlite:///{tmp_path}/mlflow.db, then open {page}")
    assert tensorboard.endswith(f"tensorboard --logdir {tmp_path}/tensorboard, then open http://127.0.0.1:6006")
    assert how_to_open(settings(tmp_path, mlflow="http://host:5000"), 7) == ("mlflow: http://host:5000 (Model training)",)


def test_a_view_hears_no_ctrl_c_and_ends_with_its_command(tmp_path: Path) -> None:
    wanted = settings(tmp_path, tensorboard=True)
    sink = JsonLines(wanted.folder)
    for event in (samples.study_started(), samples.trial_started(0), samples.reported(0)):
        sink.emit(event)
    warnings: list[str] = []
    with Views(wanted, warnings.append) as views:
        (process,) = views._running
        assert os.getpgid(process.pid) != os.getpgid(0), "a terminal's Ctrl-C goes to the group of the command"
        until(lambda: list((tmp_path / "tensorboard").rglob("events.out.*")))
        views.why = "the machine failed: /data/st\udcfchle"
    assert (process.wait(60), warnings) == (0, [])


def test_a_view_that_fails_is_reported_and_the_study_continues(tmp_path: Path) -> None:
    warnings: list[str] = []
    with Views(settings(tmp_path, tensorboard=True), warnings.append):
        until(lambda: warnings)
    assert warnings == [f"tensorboard ended with exit code 2, the study continues: see {tmp_path}/some/tensorboard.log"]
    assert "need the name of a study with a log in" in (tmp_path / "some" / "tensorboard.log").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_passes_through(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Views(Settings.model_validate({"out": tmp_path}), print):
        raise error
