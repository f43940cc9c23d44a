"""A view in a process of its own: one at a time, it ends with its study command, and takes no longer than it may."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from objective.events.log_writer import JsonLines
from objective.views.launcher import FROM_STUDY
from storage.paths import trial_folder
from tests.objective import samples
from tests.objective.small_study import ROOT
from tests.processes import until


@pytest.fixture
def sink(tmp_path: Path) -> JsonLines:
    sink = JsonLines(tmp_path / "some")
    for event in (samples.study_started(), samples.trial_started(0), samples.reported(0)):
        sink.emit(event)
    return sink


@contextmanager
def view(out: Path, from_study: bool, before: str = "") -> Iterator["subprocess.Popen[str]"]:
    """The view of TensorBoard, which starts fastest; `before` is executed in its process first."""
    program = (
        f"import sys\nimport objective.views.follow as f\nfrom objective.tensorboard import main\n{before}\nsys.exit(main())"
    )
    line = [sys.executable, "-c", program, "--study", "some", "--out", str(out)]
    environment = {**os.environ, FROM_STUDY: "1" if from_study else ""}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(line, cwd=ROOT, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def until_shown(out: Path, number: int) -> None:
    until(lambda: any(trial_folder(out / "tensorboard" / "some", number).glob("*")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_started_by_hand_it_says_how_to_open_it_and_continues_until_it_is_stopped(
    sink: JsonLines, tmp_path: Path, number: signal.Signals
) -> None:
    with view(tmp_path, from_study=False) as process:
        until_shown(tmp_path, 0)
        sink.emit(samples.study_ended())
        sink.emit(samples.trial_started(1))
        until_shown(tmp_path, 1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.endswith(f"tensorboard --logdir {tmp_path}/tensorboard, then open http://127.0.0.1:6006\n")
        assert out.count("\n") == 1


@pytest.mark.parametrize("message", ["finished\n", ""], ids=["finished", "killed"])
def test_when_the_study_command_ends_it_shows_the_rest_and_ends(sink: JsonLines, tmp_path: Path, message: str) -> None:
    with view(tmp_path, from_study=True) as process:
        until_shown(tmp_path, 0)
        sink.emit(samples.trial_started(1))
        assert process.communicate(message, timeout=60) == ("", "")
        assert process.returncode == 0
    until_shown(tmp_path, 1)


def test_the_second_one_waits_and_takes_over(sink: JsonLines, tmp_path: Path) -> None:
    with view(tmp_path, from_study=True) as first:
        until_shown(tmp_path, 0)
        with view(tmp_path, from_study=True) as second:
            assert second.stderr is not None
            assert "this one waits to take over" in second.stderr.readline()
            first.kill()
            first.wait()
            sink.emit(samples.trial_started(1))
            until_shown(tmp_path, 1)
            assert second.communicate("finished\n", timeout=60) == ("", "")
            assert second.returncode == 0


def test_one_that_waits_ends_with_its_study_command(sink: JsonLines, tmp_path: Path) -> None:
    with view(tmp_path, from_study=True):
        until_shown(tmp_path, 0)
        with view(tmp_path, from_study=True) as second:
            _, err = second.communicate("finished\n", timeout=60)
            assert (second.returncode, err.count("\n")) == (0, 1)


def test_what_cannot_be_shown_in_time_is_left_for_later(sink: JsonLines, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with view(tmp_path, from_study=True, before="f.LAST_S = 1.0") as process:
        assert process.stderr is not None
        assert "what is pending is shown once that is fixed" in process.stderr.readline()
        _, err = process.communicate("finished\n", timeout=60)
    assert process.returncode == 1
    assert err == "tensorboard: not all could be shown 1 s after the end: the same command, typed later, catches up\n"
