"""What the GPU check says: on a CPU its own logic holds, and what is wrong, or raises, is named and costs no other check."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import check_gpu
from benchmarks.check_gpu import Bench, main
from benchmarks.checks import Case, run, write
from model.cuda_graphs import CapturedUpdate
from model.recurrence import Inputs, Weights, attend
from model.snapshot import Snapshot
from model.trainer import Trainer
from tests.model.test_cuda_graphs import Emulated, Limited

ROOT = Path(__file__).parent.parent.parent


def checked(file: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Check the CPU; return the exit code, and the checks by their names."""
    code = main(["--device", "cpu", "--json", str(file), *arguments])
    return code, {check["name"]: check for check in json.loads(file.read_text())["checks"]}


def test_what_a_cpu_can_of_it_holds(tmp_path: Path) -> None:
    code, checks = checked(tmp_path / "checks.json")
    assert code == 0
    assert len(checks) == 5 * 2 * 2 + 4
    assert all(check["holds"] and 0 <= check["figure"] <= check["bound"] for check in checks.values())
    assert checks["resumed without graphs, bf16, by deterministic algorithms"]["note"] == "bit for bit"


def test_a_wrong_recurrence_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(inputs: Inputs, weights: Weights, how: str) -> tuple[Tensor, ...]:
        hidden, context, alignment = attend(inputs, weights, how)
        return hidden, context * 1.05, alignment

    monkeypatch.setattr(check_gpu, "attend", wrong)
    monkeypatch.setattr(check_gpu, "SHAPES", {"one step": (1, 3, 9)})
    code, checks = checked(tmp_path / "checks.json", "--checks", "recurrence")
    assert code == 1
    assert len(checks) == 4
    assert not any(check["holds"] for check in checks.values())
    assert {check["note"] for check in checks.values()} <= {
        "context",
        "d recurrent",
        "d memory",
        "d keys",
        "d query",
        "d energy",
    }


def test_a_resume_that_forgets_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: Bench, config: Any, speech: Any, graphs: bool, start: Snapshot | None = None) -> Any:
        if start is not None:
            start.random["cpu"] = torch.get_rng_state()
        return real(self, config, speech, graphs, start)

    real = Bench.trainer
    monkeypatch.setattr(Bench, "trainer", forgetful)
    (check,) = run(check_gpu.resumed(Bench(torch.device("cpu"))))
    assert not check.holds
    assert check.note == "not bit for bit"


def recording(monkeypatch: pytest.MonkeyPatch, most: int = 64) -> Bench:
    """Return a CPU whose trainers record, emulated, and have memory for batches of `most` utterances."""

    class Card(Trainer):
        def __init__(self, *arguments: Any, graphs: bool = True, **named: Any) -> None:
            super().__init__(*arguments, graphs=graphs, **named)
            if graphs:
                self.train = Limited(self.train, most)
                self.captured = CapturedUpdate(self.update, self.train, len(self.speech.train), Emulated())

    monkeypatch.setattr(check_gpu, "Trainer", Card)
    return Bench(torch.device("cpu"))


def test_a_resumed_trainer_goes_on_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    difference, note = check_gpu._resumed(recording(monkeypatch), "fp32", graphs=True)
    assert (difference, note) == (0, "bit for bit")


def test_updates_that_should_have_been_recorded_and_were_not_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = recording(monkeypatch, most=4)
    with pytest.raises(AssertionError, match="the memory of their graphs is needed"):
        check_gpu._resumed(trained, "fp32", graphs=True)


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shares of a card of 10 GB that are allowed; training keeps 1 GB of it, and a batch needs 3."""
    allowed: list[float] = []
    figures = {"memory_allocated": 1e9, "max_memory_allocated": 3e9, "max_memory_reserved": 1.5e9, "mem_get_info": (0, 1e10)}
    for name, figure in (figures | {"reset_peak_memory_stats": None, "empty_cache": None}).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, figure=figure: figure)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: allowed.append(share))
    monkeypatch.setattr(check_gpu, "speech", lambda *_, draw=check_gpu.speech: draw(8, 20, 30))
    return allowed


def test_training_goes_on_where_a_batch_does_not_fit(fractions: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    peak, how = check_gpu._starved(recording(monkeypatch, most=3))
    assert fractions == [0.2, 1.0], "between the two, and everything again afterwards"
    assert peak == 1.5
    assert how.startswith("batches in parts of 2; updates are launched kernel by kernel")


def test_a_batch_that_fits_after_all_proves_nothing(fractions: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="need graphs that are given up, got whole batches"):
        check_gpu._starved(recording(monkeypatch))


def test_a_check_that_raises_does_not_hold_and_the_others_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> tuple[float, str]:
        raise RuntimeError("out of registers\nat line 3")

    cases = [
        Case("raises", fails, 1.0),
        Case("unknown", lambda: (float("nan"), ""), 1.0),
        Case("fine", lambda: (0.5, "x"), 1.0),
    ]
    done = run(cases)
    assert [check.holds for check in done] == [False, False, True]
    assert done[0].note == "RuntimeError: out of registers"
    assert "at line 3" in capsys.readouterr().err, "the whole error is shown"
    write(tmp_path / "checks.json", done)
    assert [check["figure"] for check in json.loads((tmp_path / "checks.json").read_text())["checks"]] == [None, None, 0.5]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("program", ["check_gpu", "machine"])
def test_without_a_gpu_it_is_refused_in_one_sentence(program: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{program}"], cwd=ROOT, capture_output=True, text=True)
    message = "device cuda: need a CUDA device, torch finds none: choose --device cpu\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
