"""Several workers for real: exactly as many trials as asked for, whoever crashes, and nobody is left behind."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from storage.outcome import finished
from tests.objective.small_study import ROOT, command, events, held, running, study, tried, words

pytestmark = pytest.mark.slow


def pids(out: Path, name: str) -> set[int]:
    return {trial.user_attrs["owner"]["pid"] for trial in study(out, name).trials if "owner" in trial.user_attrs}


def both(out: Path, name: str, said: str) -> bool:
    """Whether a trial has reported, and two workers have begun."""
    return "/12 kframes" in said and len(pids(out, name)) == 2


def test_two_workers_run_exactly_as_many_trials_as_asked_for(spoken: Path) -> None:
    """Each trial by one of them, none by this process, and all in one display."""
    line = words(spoken, "--study", "pair", "--trials", "5", "--trials-per-gpu", "2")
    command = [sys.executable, "-m", "objective.study", *line]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(finished(study(spoken, "pair"))) == 5
    assert len(pids(spoken, "pair")) == 2
    for trial in finished(study(spoken, "pair")):  # of two that asked for one recipe at a moment, one was dropped
        assert f"trial {trial.number}  starts as" in done.stdout
        assert f"trial {trial.number}  12/12 kframes" in done.stdout
    assert "finished: 5 of 5 trials" in done.stdout
    assert len(events(spoken, "pair", "TrialEnded")) == len(finished(study(spoken, "pair")))


def test_a_worker_that_crashes_starts_again_and_its_trial_goes_on(spoken: Path) -> None:
    more = ("--study", "crashed", "--trials", "3", "--workers", "1", "--budget-kframes", "36")  # long enough to be killed in
    with running(spoken, lambda said: said.startswith("trial 0  9.0/36"), *more) as process:
        (pid,) = pids(spoken, "crashed")
        assert pid != process.pid
        os.kill(pid, signal.SIGKILL)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert "worker 0 ended with exit code -9" in rest
    crashed = study(spoken, "crashed")
    assert len(finished(crashed)) == 3
    (again,) = (trial for trial in crashed.trials if trial.user_attrs.get("again_of") == 0)
    assert crashed.trials[0].user_attrs["released"] == "its worker died"
    (resumed,) = events(spoken, "crashed", "Resumed")
    assert (resumed["number"], resumed["of"]) == (again.number, 0)
    assert resumed["kframes"] >= 6.0


def test_a_signal_reaches_every_worker(spoken: Path) -> None:
    """Nothing stays RUNNING, nobody lives on, and every released point comes again."""
    name = "signalled"
    with running(spoken, partial(both, spoken, name), "--study", name, "--trials", "60", "--workers", "2") as process:
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 130
    trials = tried(spoken, name)
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    assert all(trial.user_attrs["released"] == "interrupted" for trial in trials if trial.state.name == "FAIL")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(spoken, name))
    count = len(finished(study(spoken, name))) + 2
    assert command(spoken, "--study", name, "--trials", str(count)) == 0
    again = {trial.user_attrs.get("again_of") for trial in finished(study(spoken, name))}
    assert {trial.number for trial in trials if trial.state.name == "FAIL"} <= again


def test_workers_whose_supervisor_was_killed_end_by_themselves(spoken: Path) -> None:
    line = ("--study", "orphans", "--trials", "60", "--workers", "2")
    with running(spoken, partial(both, spoken, "orphans"), *line) as process:
        process.kill()
    left = pids(spoken, "orphans")
    assert len(left) == 2
    for pid in left:
        subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=30, check=True)  # until it has ended
    trials = study(spoken, "orphans").trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}


def test_a_second_command_joins(spoken: Path) -> None:
    """The same line typed again, here or elsewhere: together they run what one was asked for."""
    line = ["--study", "joined", "--trials", "6"]
    with held(spoken, 0, 3.0, *line) as first, held(spoken, 1, 3.0, *line) as second:
        second.stdin.close()
        first.communicate(timeout=120)
        second.wait(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(finished(study(spoken, "joined"))) == 6
    assert len(pids(spoken, "joined")) == 2
    assert {trial.state.name for trial in tried(spoken, "joined")} == {"COMPLETE"}
