"""The study command on a small network and a spoken corpus, in this process or in one of its own, and what it leaves."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from objective.study import main
from storage.outcome import finished

ROOT = Path(__file__).parent.parent.parent
SMALL = """
data: {demo_utterances: 24, validation_utterances: 6}
budget: {kframes: 12, reports: 4, snapshot_kframes: 3}
objective: {score: loss}
listener: {kframes: 0}
study: {recipes: [tacotune, nvidia, espnet]}
network: {embedding: 16, encoder: 16, prenet: 8, attention_rnn: 24, decoder_rnn: 24, attention: 8, postnet: 12}
pruner: {name: none}
repair: {max_per_trial: 0}
"""
UNDISTURBED = ["--trials", "4", "--seed", "7"]  # three recipes and what the sampler chooses
QUICK = ["--budget-kframes", "4", "--set", "budget.reports=1"]
Result = tuple[dict[str, Any], float | None, dict[int, float]]  # parameters, value, value by report


def study_arguments(out: Path, *more: str) -> list[str]:
    """Return the arguments of the command for the output folder `out`, which holds small.yaml."""
    return ["--settings", str(out / "small.yaml"), "--out", str(out), "--device", "cpu", *more]


def command(out: Path, *more: str) -> int:
    """Run the command in this process; return its exit code."""
    return main(study_arguments(out, *more))


def study(out: Path, name: str) -> optuna.Study:
    return optuna.load_study(storage=f"sqlite:///{out}/tacotune.db", study_name=name)


@contextmanager
def running(out: Path, mark: Callable[[str], bool], *more: str, stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run the command in a process of its own; the block starts when it prints a line that fits `mark`."""
    line = [sys.executable, "-m", "objective.study", *study_arguments(out, *more)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        assert process.stdout is not None
        assert any(map(mark, process.stdout))
        yield process


@contextmanager
def held(out: Path, number: int, kframes: float, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """Like `running`, from a report of trial `number`, after which the command blocks until its stdin is closed."""
    line = [sys.executable, "-m", "tests.objective.held", str(number), str(kframes), *study_arguments(out, *more)]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(printed.startswith(f"trial {number}  {kframes}/") for printed in process.stdout)
        yield process


def tried(out: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that have parameters: of two workers that start the same recipe or the last trial, one gets none."""
    return [trial for trial in study(out, name).trials if trial.params]


def results(out: Path, name: str) -> list[Result]:
    """Return what the finished trials of a study tried and reached, in the order of their configurations."""
    trials = sorted(finished(study(out, name)), key=lambda trial: int(trial.user_attrs["k"]))
    return [(trial.params, trial.value, trial.intermediate_values) for trial in trials]


def events(out: Path, name: str, kind: str) -> list[dict[str, Any]]:
    """Return the events of one kind from the log of a study."""
    lines = (out / name / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def reports(folder: Path) -> list[dict[str, Any]]:
    """Return the reports of the trial in `folder`."""
    return [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]
