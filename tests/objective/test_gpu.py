"""The study command where a GPU cannot be used, or fails: it says so, trains nothing on the CPU instead, and loses no trial."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from model.trainer import Trainer
from objective.study import main
from storage.outcome import finished
from tests.objective.failing_gpu import FAILURE, fail_once, undisturbed
from tests.objective.small_study import ROOT, command, events, study, study_arguments

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def _nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an NVIDIA GPU, as far as this program looks, and a wheel for the CPU."""
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("_nvidia")
def test_a_study_that_trains_on_the_cpu_beside_a_gpu_says_why(spoken: Path) -> None:
    """The profile follows what torch can use, too: own recordings do not get the network that is meant for a GPU."""
    arguments = ["--study", "beside", "--trials", "1", "--timeout", "1e-9"]
    recordings = ["--data", str(spoken / "corpora/demo-en-matrix-0-24-v3")]
    assert command(spoken, *arguments, *recordings, "--device", "auto") == 0
    (notes,) = (event["notes"] for event in events(spoken, "beside", "StudyStarted"))
    (note,) = (note for note in notes if "GPU" in note)
    assert note.startswith("training on the CPU: there is an NVIDIA GPU, and torch ")
    assert "install torch with CUDA" in note
    assert notes[notes.index(note) + 1].endswith("profile demo")
    assert command(spoken, "--study", "chosen", *arguments[2:]) == 0, "with --device cpu"
    assert not any("GPU" in note for event in events(spoken, "chosen", "StudyStarted") for note in event["notes"])


@pytest.mark.usefixtures("_nvidia")
def test_device_cuda_is_refused_with_the_same_reason(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*study_arguments(spoken, "--study", "wanted"), "--device", "cuda", "--space", "defualt"]) == 2
    other, line = capsys.readouterr().err.splitlines()
    assert "did you mean default?" in other, "all mistakes at once"
    assert line.startswith("device cuda: there is an NVIDIA GPU, and torch ")


def test_a_study_without_any_gpu_has_nothing_to_say_about_it(spoken: Path) -> None:
    assert command(spoken, "--study", "none", "--trials", "1", "--timeout", "1e-9", "--device", "auto") == 0
    assert not any("GPU" in note for event in events(spoken, "none", "StudyStarted") for note in event["notes"])


@pytest.mark.parametrize("on_failure", ["stop", "wait"])
def test_a_gpu_that_fails_ends_the_command_and_the_trial_resumes(
    on_failure: str, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration is not to blame. Waiting would be of no use: this process cannot use the GPU again."""
    name = f"failed-{on_failure}"
    line = ["--study", name, "--trials", "1", "--set", f"study.on_failure={on_failure}"]
    monkeypatch.setattr(Trainer, "steps", undisturbed)  # restored afterwards
    fail_once(tmp_path / "mark")
    assert command(spoken, *line) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"the machine failed: the GPU: {FAILURE}: fix that")
    (failed,) = study(spoken, name).trials
    assert (failed.state, failed.user_attrs["released"]) == (TrialState.FAIL, f"the GPU: {FAILURE}")
    assert "died" not in failed.user_attrs
    assert command(spoken, *line) == 0
    (retried,) = finished(study(spoken, name))
    assert (retried.user_attrs["again_of"], retried.params) == (failed.number, failed.params)
    assert retried.user_attrs["from_kframes"] >= 3.0


@pytest.mark.slow
def test_a_worker_whose_gpu_fails_is_replaced_and_the_study_goes_on(spoken: Path, tmp_path: Path) -> None:
    arguments = study_arguments(spoken, "--study", "replaced", "--trials", "1", "--workers", "1")
    line = [sys.executable, "-m", "tests.objective.failing_gpu", str(tmp_path / "mark"), *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert f"worker 0 ended: the GPU: {FAILURE}: see " in done.stdout
    trials = study(spoken, "replaced").trials
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert "died" not in trials[0].user_attrs
    assert trials[0].user_attrs["owner"]["pid"] != trials[1].user_attrs["owner"]["pid"]
    (resumed,) = events(spoken, "replaced", "Resumed")
    assert resumed["of"] == 0
