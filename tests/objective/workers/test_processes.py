"""Real worker processes run exactly the requested trials, even after crashes, and none is left behind."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from objective.runtime.signals import STOPPING
from storage.outcome import finished
from tests.objective.small_study import ROOT, command, events, held, running, study, study_arguments, tried

pytestmark = pytest.mark.slow


def pids(out: Path, name: str) -> set[int]:
    return {trial.user_attrs["owner"]["pid"] for trial in study(out, name).trials if "owner" in trial.user_attrs}


def both_started(out: Path, name: str, line: str) -> bool:
    """Return whether a trial has reported in `line`, and two workers have started one."""
    return "/12 kframes" in line and len(pids(out, name)) == 2


def test_two_workers_run_exactly_the_requested_trials(spoken: Path) -> None:
    """One of them runs each trial, the command's own process none, and all appear in one display."""
    line = study_arguments(spoken, "--study", "pair", "--trials", "5", "--trials-per-gpu", "2")
    command = [sys.executable, "-m", "objective.study", *line]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(finished(study(spoken, "pair"))) == 5
    assert len(pids(spoken, "pair")) == 2
    for trial in finished(study(spoken, "pair")):  # where both started the same recipe, one was discarded
        assert f"trial {trial.number}  starts, " in done.stdout
        assert f"trial {trial.number}  12/12 kframes" in done.stdout
    assert "finished: 5 of 5 trials" in done.stdout
    assert len(events(spoken, "pair", "TrialEnded")) == len(finished(study(spoken, "pair")))


def test_a_crashed_worker_restarts_and_its_trial_resumes(spoken: Path) -> None:
    more = (
        "--study",
        "crashed",
        "--trials",
        "3",
        "--workers",
        "1",
        "--budget-kframes",
        "36",
    )  # long enough to be killed meanwhile
    with running(spoken, lambda line: line.startswith("trial 0  9.0/36"), *more) as process:
        (pid,) = pids(spoken, "crashed")
        assert pid != process.pid
        os.kill(pid, signal.SIGKILL)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert "worker 0 ended with exit code -9" in rest
    crashed = study(spoken, "crashed")
    assert len(finished(crashed)) == 3
    (retry,) = (trial for trial in crashed.trials if trial.user_attrs.get("again_of") == 0)
    assert crashed.trials[0].user_attrs["released"] == "its worker died"
    (resumed,) = events(spoken, "crashed", "Resumed")
    assert (resumed["number"], resumed["of"]) == (retry.number, 0)
    assert resumed["kframes"] >= 6.0


def test_a_signal_stops_all_workers_and_is_confirmed_once(spoken: Path) -> None:
    """No trial stays RUNNING, no process survives, released trials are retried, and one line on stderr confirms the stop."""
    name = "signalled"
    arguments = ("--study", name, "--trials", "60", "--workers", "2")
    with running(spoken, partial(both_started, spoken, name), *arguments, stderr=subprocess.PIPE) as process:
        process.terminate()
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130
    assert errors.splitlines() == [STOPPING]
    trials = tried(spoken, name)
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    assert all(trial.user_attrs["released"] == "interrupted" for trial in trials if trial.state.name == "FAIL")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(spoken, name))
    count = len(finished(study(spoken, name))) + 2
    assert command(spoken, "--study", name, "--trials", str(count)) == 0
    retried = {trial.user_attrs.get("again_of") for trial in finished(study(spoken, name))}
    assert {trial.number for trial in trials if trial.state.name == "FAIL"} <= retried


def test_workers_end_when_their_supervisor_is_killed(spoken: Path) -> None:
    arguments = ("--study", "orphans", "--trials", "60", "--workers", "2")
    with running(spoken, partial(both_started, spoken, "orphans"), *arguments) as process:
        process.kill()
    left = pids(spoken, "orphans")
    assert len(left) == 2
    for pid in left:
        subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=30, check=True)  # waits until it has ended
    trials = study(spoken, "orphans").trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}


def test_a_second_command_joins_the_study(spoken: Path) -> None:
    """The same command, typed a second time here or elsewhere, helps to run the same trials."""
    arguments = ["--study", "joined", "--trials", "6"]
    with held(spoken, 0, 3.0, *arguments) as first, held(spoken, 1, 3.0, *arguments) as second:
        second.stdin.close()
        first.communicate(timeout=120)
        second.wait(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(finished(study(spoken, "joined"))) == 6
    assert len(pids(spoken, "joined")) == 2
    assert {trial.state.name for trial in tried(spoken, "joined")} == {"COMPLETE"}
