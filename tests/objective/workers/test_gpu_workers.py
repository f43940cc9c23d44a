"""Workers that are started for a GPU: which one each gets, what is said where they share one, and what happens without it."""

import os
from pathlib import Path

import pytest
import torch

from objective.events.fanout import Sinks
from objective.events.types import TrialStarted, Warned
from objective.runtime.signals import Interruption
from objective.settings.device import Found, obstacle
from objective.settings.resolve import resolve
from objective.workers import processes, session, supervision
from objective.workers.processes import gpus, sharing, supervise
from objective.workers.session import _gpu_notes
from tests.objective.recorder import Recorder
from tests.objective.small_study import command, study


def cards(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None) -> None:
    """Let this process have so many GPUs, of which `visible` names some."""
    emulated = Found("2.13.0", "CUDA 13.0", cards=(("RTX 3060", "sm_86"),) * count, visible=visible)
    monkeypatch.setattr(processes, "probe", lambda: emulated)


@pytest.mark.parametrize(
    ("count", "visible", "devices"),
    [
        (2, None, ["0", "1"]),
        (2, "", ["0", "1"]),
        (2, "3, 1", ["3", "1"]),
        (1, "GPU-8932f937", ["GPU-8932f937"]),
        (1, "MIG-a,MIG-GPU-b/1/0", ["MIG-a", "MIG-GPU-b/1/0"]),
    ],
)
def test_each_worker_gets_a_gpu_by_the_name_that_it_has_here(
    count: int, visible: str | None, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, count, visible)
    assert gpus() == devices


def test_workers_that_share_a_gpu_are_told_of_mps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "mps"))
    sentence = sharing(4, ["0", "1"])
    assert sentence is not None
    assert sentence.startswith("4 workers share 2 GPUs and only take turns: ")
    assert sentence.endswith("nvidia-cuda-mps-control -d")
    assert sharing(2, ["0", "1"]) is sharing(4, []) is None
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert sharing(4, ["0", "1"]) is None, "AMD has no MPS"
    monkeypatch.setattr(torch.version, "hip", None)
    (tmp_path / "mps").mkdir()
    assert sharing(4, ["0", "1"]) is None, "it runs"


def test_the_start_tells_of_mps_and_of_a_gpu_that_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "mps"))
    settings = resolve(None, [], {"study.trials_per_gpu": 2}, gpu=False)
    assert list(_gpu_notes(settings, 2, ["0"])) == [sharing(2, ["0"])]
    unused = Found("2.13.0+cpu", nvidia=True)
    monkeypatch.setattr(session, "probe", lambda: unused)
    assert list(_gpu_notes(settings, 2, [])) == [f"training on the CPU: {obstacle(unused)}"]
    for flags in ({"device": "cpu"}, {"study.ray": "head:6379"}):
        assert list(_gpu_notes(resolve(None, [], flags, gpu=False), 1, [])) == []


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the worker must fail for want of a GPU")
def test_a_worker_that_has_lost_its_gpu_never_trains_on_the_cpu(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is restarted as often as any crashed worker, and the study ends with the reason."""
    monkeypatch.setattr(supervision, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(supervision, "MAX_CRASHES", 2)
    assert command(spoken, "--study", "lost-gpu", "--trials", "1", "--timeout", "1e-9") == 0
    flags = {"out": spoken, "study.name": "lost-gpu", "study.trials": 1, "device": "auto"}
    recorder, settings = Recorder(), resolve(spoken / "small.yaml", [], flags, gpu=False)
    before = dict(os.environ)
    end = supervise(settings, 1, ["GPU-1234"], Sinks([recorder]), Interruption())
    assert os.environ == before
    assert end.code == 1
    assert end.reason.startswith("worker 0 on GPU GPU-1234 ended: device cuda: need a CUDA device, torch finds none: ")
    assert end.reason.endswith("it crashed 2 times without finishing a trial")
    assert len([event for event in recorder.events if isinstance(event, Warned)]) == 2
    assert not any(isinstance(event, TrialStarted) for event in recorder.events)
    assert study(spoken, "lost-gpu").trials == []
