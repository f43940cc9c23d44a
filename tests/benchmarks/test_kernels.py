"""The kernels compile for every architecture and fit; the command says so by its exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
from benchmarks import kernels
from benchmarks.kernels import CARDS, FITS, Need, Row, drawn
from model.recurrence.triton_tiles import Dimensions

ROOT = Path(__file__).parent.parent.parent


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["kernels", *arguments])
    return kernels.main()


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_every_kernel_compiles_and_fits(name: str) -> None:
    """In a process of its own: here Triton is the interpreter."""
    compiler = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.kernels", name]
    done = subprocess.run(command, cwd=ROOT, env=compiler, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count(f"| {FITS} |") == 7, "six kernels, and the architecture"


def test_what_the_shipped_spaces_draw() -> None:
    assert {batch for batch, _ in drawn()} == {4, 8, 16, 32, 64, 128, 256}
    assert {size for _, size in drawn()} == {Dimensions(1024, 512, 128, 31), Dimensions(256, 128, 64, 31)}


@pytest.mark.parametrize(
    ("need", "code", "result"),
    [
        (Need(shared=65_536), 0, FITS),
        (Need(shared=65_537), 1, "TOO LARGE"),
        (Need(failure="DOES NOT COMPILE (PassManager::run failed)"), 1, "DOES NOT COMPILE (PassManager::run failed)"),
    ],
    ids=["fits", "too large", "does not compile"],
)
def test_one_red_row_is_exit_code_1(
    need: Need, code: int, result: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(kernels, "check", lambda card, points: [Row("lstm_forward", [Need(shared=8), need], card.shared_bytes)])
    assert run(monkeypatch, "sm_75") == code
    printed = capsys.readouterr().out
    assert printed.count(f"{result} |") == 2, "in the table of the kernels and in that of the architectures"
    assert f"{need.shared or 8:,}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"), [(["sm_13"], "need architectures of sm_75, .* got sm_13"), ([], "TRITON_INTERPRET asks for")]
)
def test_bad_input_is_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)
