"""Stages of a measurement, with tiny commands: what ended well is not repeated, what fails is, what is killed has no record."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_table import table
from benchmarks.stages import LATE, Stage, read, run_all

ROOT = Path(__file__).parent.parent.parent
ABOUT: dict[str, Any] = {"device": "cpu", "machine": "a CPU", "versions": {"torch": "2.8", "driver": None}}
WRITES = "import json, sys; print('measured'); json.dump({'figures': ['7 things']}, open(sys.argv[-1], 'w'))"


def python(code: str, *arguments: str) -> Sequence[str]:
    return [sys.executable, "-c", code, *arguments]


def counted(folder: Path, name: str, code: str = "") -> Stage:
    """Return a stage that adds a line to FOLDER/NAME.count, and then does `code`."""
    count = f"print('x', file=open({str(folder / name)!r} + '.count', 'a')); {code}"
    return Stage(name, 60, [python(count)])


def times(folder: Path, name: str) -> int:
    return len((folder / f"{name}.count").read_text().split())


def test_the_same_command_repeats_only_what_has_not_ended_well(tmp_path: Path) -> None:
    stages = [counted(tmp_path, "fails", "raise SystemExit(3)"), counted(tmp_path, "works")]
    assert [run_all(stages, tmp_path, ABOUT) for _ in range(2)] == [1, 1]
    assert (times(tmp_path, "fails"), times(tmp_path, "works")) == (2, 1)
    assert run_all([counted(tmp_path, "fails"), stages[1]], tmp_path, ABOUT) == 0
    assert (times(tmp_path, "fails"), times(tmp_path, "works")) == (3, 1)
    assert run_all(stages[1:], tmp_path, ABOUT, again=True) == 0
    assert run_all(stages[1:], tmp_path, ABOUT | {"device": "cuda"}) == 0, "a CPU's result is none of a GPU"
    assert times(tmp_path, "works") == 3


def test_a_stage_leaves_what_it_printed_and_a_record_of_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage("one", 60, [python(WRITES), python("import sys; print('on stderr', file=sys.stderr)")])
    assert run_all([stage], tmp_path, ABOUT) == 0
    record = json.loads((tmp_path / "one.json").read_text())
    assert record.pop("seconds") > 0
    assert record.pop("date")
    assert record == {"stage": "one", "rc": 0, "obstacle": None, "results": [{"figures": ["7 things"]}], **ABOUT}
    assert (tmp_path / "one.txt").read_text() == "measured\non stderr\n"
    assert "measured\non stderr\n" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.txt"]


def test_the_first_command_that_fails_is_the_last_of_its_stage(tmp_path: Path) -> None:
    stage = Stage("one", 60, [python(WRITES), python("raise SystemExit(5)"), python("print('never')")])
    assert run_all([stage], tmp_path, ABOUT) == 1
    record = read(tmp_path, "one")
    assert record is not None
    assert (record["rc"], record["results"]) == (5, [{"figures": ["7 things"]}])
    assert "never" not in (tmp_path / "one.txt").read_text()


def test_a_stage_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    """The child holds the pipe: while it lives, the stage has not ended."""
    child = "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])"
    assert run_all([Stage("one", 1, [python(f"{child}; signal.pause()")])], tmp_path, ABOUT) == 1
    record = read(tmp_path, "one")
    assert record is not None
    assert record["rc"] == LATE


def test_what_cannot_be_run_is_recorded_and_tried_again_by_the_next_command(tmp_path: Path) -> None:
    obstacle = Stage("works", 60, [], obstacle="needs optuna")
    assert run_all([obstacle], tmp_path, ABOUT) == 0
    record = read(tmp_path, "works")
    assert record is not None
    assert (record["rc"], record["obstacle"]) == (0, "needs optuna")
    assert run_all([counted(tmp_path, "works")], tmp_path, ABOUT) == 0
    assert times(tmp_path, "works") == 1


def test_a_run_that_is_killed_leaves_no_record_of_its_stage(tmp_path: Path) -> None:
    run_all([counted(tmp_path, "one", "raise SystemExit(1)")], tmp_path, ABOUT)
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    code = (
        f"import pathlib, sys; from benchmarks.stages import Stage, run_all; "
        f"run_all([Stage('one', 60, [[sys.executable, '-c', {kill!r}]])], pathlib.Path({str(tmp_path)!r}), {ABOUT!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert read(tmp_path, "one") is None


def record(**changes: Any) -> dict[str, Any]:
    return (
        {"stage": "kernels", "rc": 0, "obstacle": None, "seconds": 12.3, "date": "2026-11-30 10:00", "results": []}
        | ABOUT
        | changes
    )


def check(name: str, figure: float | None, bound: float | None, holds: bool = True, note: str = "") -> dict[str, Any]:
    return {"name": name, "figure": figure, "bound": bound, "holds": holds, "note": note}


def test_the_table_has_a_row_for_each_stage_with_what_matters() -> None:
    checks = [check("fine", 1e-4, 1e-2), check("close", 9e-3, 1e-2), check("no figure", None, None)]
    wrong = [*checks, check("off", 0.5, 1e-3, holds=False, note="d query")]
    speed = {"epoch": {"ours": 912_345.6}, "gemm_share": 0.31, "precision": "bf16", "memory_gb": 7.04, "remarks": []}
    text = table(
        [
            record(stage="machine", obstacle="needs a GPU"),
            record(results=[{"checks": checks}]),
            record(rc=1, results=[{"checks": wrong}]),
            record(stage="speed", results=[{"batches": {"64": speed}, "ratios": {"ESP": {"64": {"epoch": 9.87}}}}]),
            record(stage="late", rc=LATE),
        ]
    )
    assert text.splitlines() == [
        "a CPU, torch 2.8, 2026-11-30",
        "",
        "| stage | result | time | figures |",
        "|---|---|---|---|",
        "| machine | needs a GPU | 12 s |  |",
        "| kernels | well | 12 s | 3 of 3 checks hold; closest: close 0.009 (at most 0.01) |",
        "| kernels | exit code 1 | 12 s | 3 of 4 checks hold; WRONG: off 0.5 (at most 0.001) d query |",
        "| speed | well | 12 s | batch 64: 912,346 frames/s in bf16, 31% of the best products, 7.0 GB; 9.9 times ESP at 64 |",
        "| late | time limit | 12 s |  |",
    ]
