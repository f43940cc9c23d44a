"""A view in a process of its own: one at a time, told when to end, and never longer than it may be."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from objective.events.log_writer import JsonLines
from objective.views.launcher import BESIDE
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
def view(out: Path, beside: bool, before: str = "") -> Iterator["subprocess.Popen[str]"]:
    """The one of TensorBoard, which starts fastest; `before` is done in its process first."""
    program = (
        f"import sys\nimport objective.views.follow as f\nfrom objective.tensorboard import main\n{before}\nsys.exit(main())"
    )
    words = [sys.executable, "-c", program, "--study", "some", "--out", str(out)]
    environment = {**os.environ, BESIDE: "1" if beside else ""}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_shown(out: Path, number: int) -> None:
    until(lambda: any(trial_folder(out / "tensorboard" / "some", number).glob("*")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_typed_by_hand_it_goes_on_until_it_is_stopped(sink: JsonLines, tmp_path: Path, number: signal.Signals) -> None:
    with view(tmp_path, beside=False) as process:
        until_shown(tmp_path, 0)
        sink.emit(samples.study_ended())
        sink.emit(samples.trial_started(1))
        until_shown(tmp_path, 1)
        process.send_signal(number)
        assert (process.wait(timeout=60), process.stderr and process.stderr.read()) == (0, "")


@pytest.mark.parametrize("word", ["finished\n", ""], ids=["told", "killed"])
def test_when_the_command_ends_it_shows_the_rest_and_ends(sink: JsonLines, tmp_path: Path, word: str) -> None:
    with view(tmp_path, beside=True) as process:
        until_shown(tmp_path, 0)
        sink.emit(samples.trial_started(1))
        _, said = process.communicate(word, timeout=60)
        assert (process.returncode, said) == (0, "")
    until_shown(tmp_path, 1)


def test_the_second_one_waits_and_takes_over(sink: JsonLines, tmp_path: Path) -> None:
    with view(tmp_path, beside=True) as first:
        until_shown(tmp_path, 0)
        with view(tmp_path, beside=True) as second:
            assert second.stderr is not None
            assert "this one waits to take over" in second.stderr.readline()
            first.kill()
            first.wait()
            sink.emit(samples.trial_started(1))
            until_shown(tmp_path, 1)
            _, said = second.communicate("finished\n", timeout=60)
            assert (second.returncode, said) == (0, "")


def test_who_waits_ends_with_its_command(sink: JsonLines, tmp_path: Path) -> None:
    with view(tmp_path, beside=True):
        until_shown(tmp_path, 0)
        with view(tmp_path, beside=True) as second:
            _, said = second.communicate("finished\n", timeout=60)
            assert (second.returncode, said.count("\n")) == (0, 1)


def test_what_cannot_be_shown_in_time_is_left_for_later(sink: JsonLines, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with view(tmp_path, beside=True, before="f.LAST_S = 1.0") as process:
        assert process.stderr is not None
        assert "what is due is shown once that is mended" in process.stderr.readline()
        _, said = process.communicate("finished\n", timeout=60)
    assert process.returncode == 1
    assert said == "tensorboard: not all could be shown 1 s after the end: the same command, typed later, catches up\n"
