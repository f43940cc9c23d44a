"""A study on a card whose kernels or recordings fail ends as one by the deferred recurrence, and says why once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from triton.runtime.errors import OutOfResources  # type: ignore[import-untyped]

from model import selftest
from model.config import Network
from model.recorder import NotRecordedError
from model.selftest import Abilities, cause, compare, recording_fails, verdict
from tests.model.test_cuda_graphs import Emulated
from tests.model.test_selftest import SIZES, wrong_context
from tests.objective.small_study import QUICK, command, events, results

CPU = torch.device("cpu")
REFUSED = NotRecordedError("operation not permitted when stream is capturing")
OUT = OutOfResources(131_088, 101_376, "shared memory")
FAILURES: dict[str, tuple[Callable[[], Abilities], str]] = {
    "no compiler": (lambda: verdict("card", (cause(RuntimeError("Python.h: no such file")), 0.0), None, False), "python3-dev"),
    "does not fit": (lambda: verdict("card", (cause(OUT), 0.0), None, False), "shared memory"),
    "wrong result": (lambda: verdict("card", compare(wrong_context, SIZES, torch.bfloat16, CPU), None, False), "differs from"),
    "failing recording": (
        lambda: verdict("card", ("x", 0.0), recording_fails(Network(), torch.float32, CPU, Emulated(REFUSED)), False),
        "updates are not recorded, which is slower: operation not permitted",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_study_without_kernels_has_the_same_values(failure: str, spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, sentence = FAILURES[failure][0](), FAILURES[failure][1]
    name = failure.replace(" ", "-")
    line = ["--trials", "1", "--seed", "7", *QUICK]
    assert command(spoken, "--study", f"{name}-deferred", *line, "--set", "network.recurrence=deferred") == 0
    monkeypatch.setattr(selftest, "abilities", lambda configs, dtype, device: found)
    assert command(spoken, "--study", name, *line) == 0
    assert results(spoken, name) == results(spoken, f"{name}-deferred")
    (start,) = events(spoken, name, "StudyStarted")
    assert sum(sentence in note for note in start["notes"]) == 1


def test_kernels_that_are_asked_for_and_fail_end_the_command(
    spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "abilities", lambda configs, dtype, device: verdict("card", (cause(OUT), 0.0), None, True))
    assert command(spoken, "--study", "asked", "--trials", "1", *QUICK) == 2
    assert "network.recurrence cuda: need kernels that work on this card, OutOfResources" in capsys.readouterr().err
