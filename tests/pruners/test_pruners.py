"""The rules behind Optuna's interface, in studies of nobody's but Optuna's own making."""
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event

from pruners.health import DiagonalityPruner, GateAccuracyPruner, GradientNormPruner, HealthPruner
from pruners.peers import PeerPruner
from pruners.record import empty, extended
from tests.pruners.test_rules import BUDGET, WELL


def run(study: optuna.Study, values: list[float], **sick: float) -> optuna.trial.FrozenTrial:
    """One trial that reports `values` at every 10 kframes until it is pruned."""
    trial = study.ask()
    record = empty(BUDGET)
    for i, value in enumerate(values):
        record = extended(record, {**WELL, **sick, "kframes": 10.0 * (i + 1), "val_loss": value})
        trial.set_user_attr("health", record)
        trial.report(value, 10 * (i + 1))
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            break
    else:
        study.tell(trial, values[-1])
    return study.trials[trial.number]


FALLING = [2 * 0.9**i for i in range(24)]


@pytest.mark.parametrize(
    ("pruner", "sick", "step"),
    [
        (GradientNormPruner(), {"grad_norm_p95": 300.0}, 30),
        (DiagonalityPruner(), {"diagonality": 0.2}, 100),
        (GateAccuracyPruner(), {"gate_accuracy": 0.5}, 170),
        (HealthPruner(), {"coverage": 0.1}, 100),
    ],
)
def test_a_sick_trial_is_pruned_with_its_reason(pruner: HealthPruner, sick: dict[str, float], step: int) -> None:
    study = optuna.create_study(pruner=pruner)
    well = run(study, FALLING)
    assert well.state.name == "COMPLETE"
    ended = run(study, FALLING, **sick)
    assert (ended.state.name, ended.last_step) == ("PRUNED", step)
    assert ended.value == ended.intermediate_values[step], "the last honest value, which the sampler learns from"
    (signal,) = sick
    assert ended.user_attrs["pruned_by"] == {"grad_norm_p95": "grad_norm"}.get(signal, signal)
    assert "3 of 3 validations since" in ended.user_attrs["pruned_reason"]
    assert ended.user_attrs["pruned_step"] == step
    assert ended.user_attrs["pruned_severity"] > 0


def test_a_trial_without_a_record_is_left_alone() -> None:
    study = optuna.create_study(pruner=HealthPruner())
    trial = study.ask()
    trial.report(1.0, 10)
    assert not trial.should_prune()


def test_the_best_half_goes_on_and_the_sentence_is_true() -> None:
    study = optuna.create_study(pruner=HealthPruner(peers=PeerPruner(240, eta=2, min_share=0.25)))
    for scale in (1.0, 1.1, 1.2):
        assert run(study, [scale * value for value in FALLING]).state.name == "COMPLETE", "too few to compare with"
    late = run(study, [1.15 * value for value in FALLING])
    assert (late.user_attrs["pruned_by"], late.last_step) == ("peers", 60)
    reason = late.user_attrs["pruned_reason"]
    assert f"validation loss {1.15 * FALLING[5]:.3f} at 60 kframes is number 3 of the 4 healthy trials at this rung" in reason
    assert f"2 go on, the last of them with {1.1 * FALLING[5]:.3f}" in reason
    good = run(study, [0.9 * value for value in FALLING])
    assert good.state.name == "COMPLETE"


def test_the_sick_are_nobodys_peers() -> None:
    """Three broken voices with the lowest losses of all: the healthy one that comes after them is not measured by them."""
    study = optuna.create_study(pruner=HealthPruner(peers=PeerPruner(240, eta=2, min_share=0.25)))
    for _ in range(3):
        run(study, [0.5 * value for value in FALLING], diagonality=0.1)
    for _ in range(3):
        trial = study.ask()
        for i, value in enumerate(FALLING):
            trial.report(0.5 * value, 10 * (i + 1))
        trial.set_constraint("health/alignment_score", 0.5)
        study.tell(trial, 0.1)
    assert run(study, FALLING).state.name == "COMPLETE"


def test_a_rung_is_passed_once_whatever_the_grid() -> None:
    """Trials that report on other grids are compared at their first step at or past the rung."""
    pruner = PeerPruner(100, eta=2, min_share=0.3, least=1)
    assert list(pruner.rungs()) == [30, 60]
    study = optuna.create_study(pruner=pruner)
    coarse = study.ask()
    for step, value in ((25, 9.0), (50, 1.0), (75, 1.0)):
        coarse.report(value, step)
    study.tell(coarse, 1.0)
    fine = study.ask()
    for step, value in ((20, 9.0), (31, 1.5)):
        fine.report(value, step)
    assert fine.should_prune()
    assert "1.500 at 31 kframes is number 2 of the 2 healthy trials" in study.trials[1].user_attrs["pruned_reason"]
    fine.report(5.0, 40)
    assert not fine.should_prune(), "between two rungs nothing is compared"


def test_any_of_optunas_pruners_may_be_the_peers() -> None:
    study = optuna.create_study(pruner=HealthPruner(peers=optuna.pruners.MedianPruner(n_startup_trials=2)))
    for _ in range(2):
        run(study, FALLING)
    late = run(study, [5 * value for value in FALLING])
    assert late.user_attrs["pruned_by"] == "peers"
    assert late.user_attrs["pruned_reason"] == f"MedianPruner stopped it with value {5 * FALLING[0]:.4g} at step 10"


def test_a_report_with_health_costs_five_statements(tmp_path: Path) -> None:
    """Three for the report, two for the record, none for the judgement."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, pruner=HealthPruner())
    trial = study.ask()
    record = extended(empty(BUDGET), {**WELL, "kframes": 10.0})
    statements: list[str] = []
    event.listen(storage.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    trial.set_user_attr("health", record)
    trial.report(1.0, 10)
    assert not trial.should_prune()
    assert len(statements) <= 5, statements
