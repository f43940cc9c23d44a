"""The same command, typed again, continues a study: what was stopped is resumed, what is finished is left alone."""

import json
import signal
from pathlib import Path

import optuna
import pytest
import torch

from model.checkpoints import load
from storage.outcome import finished
from tests.objective.small_study import UNDISTURBED, command, events, held, reports, results, study


def test_the_same_command_continues_up_to_its_trials_and_then_ends_at_once(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trials in ("4", "5", "5"):
        assert command(undisturbed, "--study", "undisturbed", *UNDISTURBED, "--trials", trials) == 0
    assert [trial.number for trial in finished(study(undisturbed, "undisturbed"))] == [0, 1, 2, 3, 4]
    output = capsys.readouterr().out
    assert output.count("finished: 5 of 5 trials") == 2
    for line in ("starts, 4 of 5 finished, sampled", "evaluating: synthesising 3 sentences", "evaluating: drawing"):
        assert output.count(f"trial 4  {line}") == 1


def test_an_end_that_is_missing_in_the_log_is_written_by_the_next_command(undisturbed: Path) -> None:
    file = undisturbed / "undisturbed" / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    ends = [line for line in lines if b'"TrialEnded"' in line]
    file.write_bytes(b"".join(line for line in lines if line != ends[1]))
    for _ in range(2):
        assert command(undisturbed, "--study", "undisturbed", *UNDISTURBED) == 0
    *others, repaired = events(undisturbed, "undisturbed", "TrialEnded")
    lost = json.loads(ends[1])
    assert others == [json.loads(line) for line in ends if line != ends[1]]
    assert {name for name in lost if lost[name] != repaired[name]} <= {"at", "last", "is_best", "folder"}, (
        "the folder was copied"
    )


def equal(one: Path, other: Path) -> bool:
    """Return whether two trials left the same weights, the same sound and the same reports."""
    weights, others = (load(folder / "best.pt")["weights"] for folder in (one, other))
    measured, measured_too = reports(one), reports(other)
    for report in measured + measured_too:
        del report["seconds"]  # which is not the training's
    return (
        measured == measured_too
        and all(torch.equal(weights[name], others[name]) for name in weights)
        and (one / "sample.wav").read_bytes() == (other / "sample.wav").read_bytes()
    )


def stop(out: Path, name: str, number: signal.Signals) -> optuna.Study:
    """Start the undisturbed study under another name and stop it in its second recipe; return it."""
    with held(out, 1, 9.0, "--study", name, *UNDISTURBED) as process:
        process.send_signal(number)
        rest, _ = process.communicate(timeout=10)
    stopped = study(out, name)
    assert len(finished(stopped)) == 1
    if number == signal.SIGKILL:
        assert stopped.trials[1].state.name == "RUNNING", "a killed process cannot release it"
    else:
        assert process.returncode == 130
        assert "trial 1  stopping: saving its snapshot (interrupted)" in rest
        assert stopped.trials[1].user_attrs["released"] == "interrupted"
    return stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_stopped_trial_resumes_and_the_study_ends_bit_for_bit_as_if_undisturbed(
    undisturbed: Path, number: signal.Signals
) -> None:
    name = f"stopped-{number.name}"
    stop(undisturbed, name, number)
    assert command(undisturbed, "--study", name, *UNDISTURBED) == 0
    resumed, whole = study(undisturbed, name), study(undisturbed, "undisturbed")
    assert results(undisturbed, name) == results(undisturbed, "undisturbed")
    assert {trial.state.name for trial in resumed.trials} == {"COMPLETE", "FAIL"}
    (retry,) = (trial for trial in resumed.trials if trial.user_attrs.get("again_of") == 1)
    (event,) = events(undisturbed, name, "Resumed")
    assert (event["number"], event["of"]) == (retry.number, 1)
    assert event["kframes"] >= (6.0 if number == signal.SIGKILL else 9.0), "what was reported before is not trained again"
    assert retry.user_attrs["health"] == whole.trials[1].user_attrs["health"]
    assert equal(undisturbed / "undisturbed" / "trial-00001", undisturbed / name / f"trial-{retry.number:05d}")


def test_a_stopped_trial_is_finished_before_the_next_one_starts(spoken: Path) -> None:
    """The command for one trial is killed in the first recipe: typed again, it finishes that one, not the next recipe."""
    line = ["--study", "first-owed", "--trials", "1", "--seed", "7"]
    with held(spoken, 0, 6.0, *line) as process:
        process.kill()
    assert command(spoken, *line) == 0
    (trial,) = finished(study(spoken, "first-owed"))
    assert (trial.user_attrs["origin"], trial.user_attrs["again_of"]) == ("recipe tacotune", 0)


def test_a_stopped_trial_resumes_where_nothing_is_searched(spoken: Path) -> None:
    """It has no parameters, as the one trial of `train`."""
    line = ["--study", "nothing-searched", "--trials", "1", "--space", "none", "--set", "study.recipes=[]"]
    with held(spoken, 0, 6.0, *line) as process:
        process.kill()
    assert command(spoken, *line) == 0
    (trial,) = finished(study(spoken, "nothing-searched"))
    assert trial.user_attrs["again_of"] == 0
    assert trial.user_attrs["from_kframes"] >= 3.0
    assert events(spoken, "nothing-searched", "Resumed")
