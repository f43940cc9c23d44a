"""`tacotune replay`: what it prints and writes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from objective.replay import main
from pruners.replay.archive import half, read
from pruners.replay.baselines import contenders
from tests.pruners.samples import mixed, trial, written

ROOT = Path(__file__).parents[3]


def test_every_pruner_is_judged_on_the_held_out_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line | {"held_out": k % 3 == 0} for k, line in enumerate(mixed())]
    path, out, plot = written(tmp_path, *lines), tmp_path / "new" / "j.json", tmp_path / "p.png"
    assert main(["--archive", str(path), "--json", str(out), "--plot", str(plot), "--orders", "2", "--workers", "1"]) == 0
    document = json.loads(out.read_text())
    held_out = half(read(path), "held-out")
    counts = {name: sum(curve.condition == name for curve in held_out) for name in ("healthy", "weak", "sick")}
    expected = {"archive": "curves.jsonl", "half": "held-out", "trials": 4, "orders": 2, **counts}
    assert {name: value for name, value in document.items() if name != "pruners"} == expected
    assert list(document["pruners"]) == [*contenders(held_out, held_out), "random"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert all(name in printed.out for name in document["pruners"])
    assert printed.err == ""


def test_pruners_are_chosen_by_name_and_without_held_out_curves_all_are_judged(tmp_path: Path) -> None:
    path, out = written(tmp_path, *mixed()), tmp_path / "j.json"
    flags = ["--pruner", "random", "--pruner", "none", "--orders", "2", "--workers", "1", "--json", str(out)]
    assert main(["--archive", str(path), *flags]) == 0
    document = json.loads(out.read_text())
    assert (document["half"], document["trials"], list(document["pruners"])) == ("all", 12, ["random", "none"])


def test_the_threshold_is_chosen_on_the_other_half(tmp_path: Path) -> None:
    """The other half has losses far below those of the half that is judged."""
    lines = [trial(2.0 if k % 2 else 0.1) | {"held_out": k % 2 == 1} for k in range(6)]
    path, out = written(tmp_path, *lines), tmp_path / "j.json"
    assert main(["--archive", str(path), "--pruner", "threshold", "--orders", "2", "--workers", "1", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["pruners"]["threshold"]["healthy_killed"] == 1


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--pruner", "medium"], "medium"),
        (["--orders", "0"], "--orders"),
        (["--workers", "0"], "--workers"),
        (["--seed", "-1"], "--seed"),
        (["--archive", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--json", "/proc/figures.json"], "cannot be written"),
        (["--correlations", "--plot", "p.png"], "--plot without --correlations"),
        (["--correlations", "--pruner", "none"], "--pruner and --plot without --correlations"),
        (["--not-sick"], "need --correlations"),
        (["--judgements", "heard.jsonl"], "need --correlations"),
        (["--correlations", "--judgements", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], rule: str
) -> None:
    assert main(["--archive", str(written(tmp_path, *mixed())), *flags]) == 2
    printed = capsys.readouterr()
    assert rule in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_a_broken_archive_and_a_missing_half_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, trial(0.5), {"points": []})
    assert main(["--archive", str(path)]) == 2
    assert "line 2" in capsys.readouterr().err
    assert main(["--archive", str(written(tmp_path, trial(0.5))), "--half", "held-out"]) == 2
    assert "--half all" in capsys.readouterr().err


def test_ctrl_c_ends_with_code_130_and_without_a_traceback(tmp_path: Path) -> None:
    """The archive is a pipe: once it is opened, the command is under way."""
    os.mkfifo(pipe := tmp_path / "pipe")
    line = [sys.executable, "-m", "pruners.replay", "--archive", str(pipe)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("wb"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_the_command_that_was_moved_names_the_new_one() -> None:
    done = subprocess.run([sys.executable, "-m", "pruners.ranks"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "tacotune replay --correlations" in done.stderr
