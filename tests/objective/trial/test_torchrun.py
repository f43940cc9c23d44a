"""One trial on two processes that torchrun starts: rank 0 leads, the other follows; a stop changes no result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.objective.small_study import ROOT, command, events, finished, results, study, study_arguments

pytestmark = pytest.mark.slow


def torchrun(out: Path, *more: str, held_at: float = 0.0) -> "subprocess.Popen[str]":
    """Two ranks; the first waits after trial 0's report at `held_at` kframes until its stdin is closed."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line += ["-m", "tests.objective.held", "0", str(held_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*line, *study_arguments(out, "--seed", "7", "--set", "study.recipes=[tacotune]", *more)],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(spoken: Path) -> str:
    """The output of a study of one undisturbed trial."""
    with torchrun(spoken, "--study", "whole", "--trials", "1") as process:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return output


def test_one_of_two_ranks_prints(spoken: Path, undisturbed: str) -> None:
    assert "2 ranks for each trial" in undisturbed
    assert undisturbed.count("trial 0  12/12 kframes") == 1
    assert len(finished(study(spoken, "whole"))) == 1


@pytest.mark.usefixtures("undisturbed")
def test_a_resumed_trial_equals_an_undisturbed_one(spoken: Path) -> None:
    with torchrun(spoken, "--study", "stopped", "--trials", "1", held_at=9.0) as process:
        assert process.stdout is not None
        assert any(line.startswith("trial 0  9.0/12") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    stopped = study(spoken, "stopped")
    assert stopped.trials[0].user_attrs["released"] == "interrupted"
    with torchrun(spoken, "--study", "stopped", "--trials", "1") as process:
        process.communicate(timeout=120)
        assert process.returncode == 0
    (resumed,) = events(spoken, "stopped", "Resumed")
    assert resumed["kframes"] >= 9.0
    assert results(spoken, "stopped") == results(spoken, "whole")


def test_a_network_that_does_not_fit_is_pruned_by_all_ranks(spoken: Path) -> None:
    """An exception is raised on all ranks, and the study continues with the next trial."""
    huge = ["--set", "network.decoder_rnn=2000000", "--study", "huge", "--trials", "1"]
    with torchrun(spoken, *huge) as process:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    (trial,) = study(spoken, "huge").trials
    assert trial.user_attrs["pruned_by"] == "out_of_memory"
    assert "out of memory on cpu" in output


def test_bad_input_is_reported_once(spoken: Path) -> None:
    with torchrun(spoken, "--study", "bad", "--trials", "many") as process:
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
    assert errors.count("--trials: study.trials: need a valid integer") == 1, errors


@pytest.mark.parametrize("rank", ["0", "1"])
def test_an_error_of_another_rank_alone_is_reported_by_that_rank(
    rank: str, spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("objective.runtime.endings.FIRST_RANK_S", 0.0 if rank == "1" else 3_600.0)
    assert command(spoken, "--study", "bad", "--data", "no/such/folder") == 2
    assert "no/such/folder" in capsys.readouterr().err


@pytest.mark.usefixtures("undisturbed")
def test_the_configuration_of_a_trial_with_a_dead_rank_is_retried(spoken: Path) -> None:
    with torchrun(spoken, "--study", "lost", "--trials", "1", held_at=6.0) as process:
        assert process.stdout is not None
        assert any(line.startswith("trial 0  6.0/12") for line in process.stdout)
        (leader,) = {trial.user_attrs["owner"]["pid"] for trial in study(spoken, "lost").trials}
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (follower,) = (int(pid) for pid in children if int(pid) != leader)
        os.kill(follower, signal.SIGKILL)
        process.communicate(timeout=120)
        assert process.returncode != 0
    with torchrun(spoken, "--study", "lost", "--trials", "1") as process:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert results(spoken, "lost") == results(spoken, "whole")
    kinds = [json.loads(line)["event"] for line in (spoken / "lost" / "events.jsonl").read_text().splitlines()]
    assert "Resumed" in kinds
