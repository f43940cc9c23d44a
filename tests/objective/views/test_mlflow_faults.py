"""MLflow holds the same in the end, whatever happens meanwhile: a view that is killed, started anew, a server that dies."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from objective.events.log_reader import StudyLog
from objective.views.launcher import FROM_STUDY
from objective.views.mlflow_runs import MlflowRuns
from tests.objective.servers import mlflow_server
from tests.objective.small_study import ROOT
from tests.objective.views.mlflow_reader import assert_equal_to_the_lines, held, show, shown
from tests.objective.watched import growing
from tests.processes import free_port, until

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own affair with SQLAlchemy
    pytest.mark.usefixtures("mlflow_defaults"),
]
WRITES = ("create_run", "log_batch", "log_artifact", "update_run", "set_terminated")


class Killed(BaseException):
    """As good as a SIGKILL: nothing in the project catches it."""


@pytest.fixture(scope="module")
def complete(study: Path, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The content of MLflow after the study was shown in one go."""
    file = tmp_path_factory.mktemp("complete") / "mlflow.db"
    shutil.copyfile(empty, file)
    shown(study, f"sqlite:///{file}")
    return held(f"sqlite:///{file}")


def test_watching_all_along_leaves_the_same_as_coming_later(
    study: Path, uri: str, complete: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    view = MlflowRuns(StudyLog(tmp_path / study.name), uri, tmp_path)
    statuses = set()
    for _ in growing(study, tmp_path / study.name):
        show(view)
        runs = MlflowClient(uri).search_runs(["1"])
        statuses |= {(run.info.run_name, run.info.status) for run in runs}
    assert held(uri) == complete
    seen = {("trial 0", "RUNNING"), ("trial 1", "KILLED"), ("trial 2", "RUNNING"), (study.name, "KILLED")}
    assert seen <= statuses, "it was shown while it ran"


def test_started_anew_after_every_line_it_leaves_the_same(
    study: Path, uri: str, complete: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    for _ in growing(study, tmp_path / study.name):
        shown(tmp_path / study.name, uri)
    assert held(uri) == complete


def test_killed_after_any_call_and_started_again_it_leaves_the_same(
    study: Path, uri: str, complete: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            answer = call(*arguments, **more)
            left -= 1
            if left == 0:
                raise Killed
            return answer

        return called

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    lives, done = 0, False
    while not done:
        lives += 1
        left = lives
        try:
            shown(study, uri)
            done = True
        except Killed:
            assert lives < 100
    monkeypatch.undo()
    assert lives > 10
    assert held(uri) == complete


@contextmanager
def mlflow_view(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, as a study starts it."""
    line, environment = [sys.executable, "-m", "objective.mlflow", *arguments], {**os.environ, FROM_STUDY: "1"}
    pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
    with subprocess.Popen(line, cwd=ROOT, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_has_everything_in_the_end(study: Path, empty: Path, tmp_path: Path) -> None:
    """A view of a study that continues meanwhile. It prints twice what a person should know, and no more."""
    database = tmp_path / "server" / "mlflow.db"
    database.parent.mkdir()
    shutil.copyfile(empty, database)
    copy, port = tmp_path / study.name, free_port()
    lines = growing(study, copy)
    next(lines)
    arguments = ["--study", study.name, "--out", str(tmp_path), "--uri", f"http://127.0.0.1:{port}"]
    with ExitStack() as stack:
        with mlflow_server(database, port):
            view = stack.enter_context(mlflow_view(*arguments))
            for _ in range(8):
                next(lines)
            client = MlflowClient(f"http://127.0.0.1:{port}")
            until(lambda: any(run.data.metrics for run in client.search_runs(["1"])))
        for _ in range(8):
            next(lines)
        assert view.stderr is not None
        printed = [view.stderr.readline()]
        with mlflow_server(database, port) as address:
            for _ in lines:
                pass
            printed.append(view.stderr.readline())
            _, rest = view.communicate("finished\n", timeout=60)
            assert (view.returncode, rest) == (0, "")
            assert_equal_to_the_lines(held(address), study)
            assert held(address)[study.name]["status"] == "FINISHED"
    assert f"no answer from http://127.0.0.1:{port}" in printed[0]
    assert "back again, and up to date" in printed[1]
