"""How trials end: pruned as sick, pruned as diverged, or failed by a person, and the study continues."""

from pathlib import Path

import optuna
import pytest
import torch

from model.report import Report
from objective.trial.alignment_history import AlignmentHistory
from storage.outcome import best_trial, finished
from tests.objective.small_study import QUICK, command, held, study

STRICT = {"warmup_share": 0.3, "patience_share": 0, "warn": 1, "critical": 0.99}  # levels that no young network meets


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sick_trial_is_pruned_and_the_sampler_gets_its_true_value(spoken: Path, sampler: str) -> None:
    """No young network meets these levels, so every trial is pruned, for a reason that its own record confirms."""
    name = f"pruned-{sampler}"
    levels = [argument for knob, value in STRICT.items() for argument in ("--set", f"health.diagonality.{knob}={value}")]
    levels += ["--set", "health.no_alignment.warmup_share=0.9"]  # it would come first
    levels += ["--set", "study.recipes=[tacotune]"]  # the sampler chooses the second trial
    assert command(spoken, "--study", name, "--trials", "2", "--sampler", sampler, "--pruner", "health", *levels) == 0
    for trial in finished(study(spoken, name)):
        assert trial.state.name == ("COMPLETE" if sampler == "gp" else "PRUNED")
        assert trial.user_attrs["pruned_by"] == "diagonality"
        measured = trial.user_attrs["health"]["diagonality"][-1]
        assert trial.user_attrs["pruned_reason"] == f"diagonality {measured:.2f} < 0.99 in 1 of 1 validations since 6 kframes"
        assert trial.value == trial.intermediate_values[trial.last_step]
        assert trial.constraints["health/diagonality"] > 0
    assert best_trial(study(spoken, name)) is None


def test_a_trial_that_holds_a_healthy_snapshot_is_not_lost_to_a_rule(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot meets these targets, and the same rule as above stops each trial at half of its budget."""
    monkeypatch.setattr("objective.trial.judge.COST_SHARE", 1_000)  # judged at each report
    levels = {f"diagonality.{knob}": value for knob, value in STRICT.items()}
    levels |= {"no_alignment.warmup_share": 0.9, "targets.diagonality": 0, "targets.reading": 0, "targets.free_failures": 1}
    given = [argument for knob, value in levels.items() for argument in ("--set", f"health.{knob}={value}")]
    assert command(spoken, "--study", "kept", "--trials", "1", "--pruner", "health", *given) == 0
    (trial,) = finished(study(spoken, "kept"))
    known = trial.user_attrs
    assert (trial.state.name, known["ended_by"], known["kframes"]) == ("COMPLETE", "diagonality", 6.0)
    assert "pruned_by" not in known
    assert trial.value == min(trial.intermediate_values.values())
    assert trial.value == trial.intermediate_values[round(known["healthy_at"])]
    best = best_trial(study(spoken, "kept"))
    assert best is not None
    assert best.number == trial.number
    assert (spoken / "kept" / "trial-00000" / "best.pt").exists()


@pytest.mark.parametrize("pruner", ["health", "none"])
def test_a_healthy_snapshot_survives_a_last_report_that_is_not_finite(
    pruner: str, spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objective.trial.judge.COST_SHARE", 1_000)  # judged at each report
    real = AlignmentHistory.add

    def add(self: AlignmentHistory, report: Report) -> None:
        real(self, report)
        with torch.no_grad():
            for weight in self._network.parameters():
                weight.fill_(torch.nan)

    monkeypatch.setattr(AlignmentHistory, "add", add)
    levels = {"targets.diagonality": 0, "targets.reading": 0, "targets.free_failures": 1}
    given = [argument for knob, value in levels.items() for argument in ("--set", f"health.{knob}={value}")]
    assert command(spoken, "--study", f"survived-{pruner}", "--trials", "1", "--pruner", pruner, *given) == 0
    (trial,) = finished(study(spoken, f"survived-{pruner}"))
    assert (trial.state.name, trial.user_attrs["ended_by"]) == ("COMPLETE", "nonfinite")
    assert trial.value is not None


def test_a_network_that_diverges_is_pruned_never_failed(spoken: Path) -> None:
    wild = ["--set", "training.learning_rate=1e6", "--set", "training.clip_norm=1e6", "--set", "training.warmup_share=0"]
    (spoken / "still.yaml").write_text("name: still\nparameters:\n  loss.gate_weight: {float: [1.0, 2.0]}\n")
    more = ["--space", str(spoken / "still.yaml"), "--set", "study.recipes=[]"]
    assert command(spoken, "--study", "wild", "--trials", "1", "--set", "pruner.name=health", *wild, *more) == 0
    (trial,) = study(spoken, "wild").trials
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs["pruned_by"] in ("nonfinite", "grad_norm", "progress")
    assert trial.value is None or trial.value < float("inf")


def test_a_button_that_fails_a_running_trial_stops_it_and_the_study_continues(spoken: Path) -> None:
    with held(spoken, 0, 2.0, "--study", "button", "--trials", "1", *QUICK, "--set", "budget.reports=2") as process:
        study(spoken, "button").tell(0, state=optuna.trial.TrialState.FAIL)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "ended from outside" in rest
    assert study(spoken, "button").trials[0].state.name == "FAIL"
    assert len(finished(study(spoken, "button"))) == 1
