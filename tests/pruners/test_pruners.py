"""The rules behind Optuna's interface, in studies of nobody's but Optuna's own making."""
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event

from pruners.health import DiagonalityPruner, GateAccuracyPruner, GradientNormPruner, HealthPruner
from pruners.peers import peers
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


@pytest.mark.parametrize("name", ["asha", "median"])
def test_peers_stand_behind_the_rules_and_their_sentence_is_true(name: str) -> None:
    study = optuna.create_study(pruner=HealthPruner(peers=peers(name, 240, eta=2, min_share=0.25)))
    for scale in (1.0, 1.1, 1.2, 1.3):
        run(study, [scale * value for value in FALLING])
    late = run(study, [5 * value for value in FALLING])
    assert late.user_attrs["pruned_by"] == "peers"
    step = late.user_attrs["pruned_step"]
    value = late.intermediate_values[step]
    others = [t.intermediate_values[step] for t in study.trials[:-1] if step in t.intermediate_values]
    reason = late.user_attrs["pruned_reason"]
    assert f"loss {value:.3f} at {step} kframes is number {len(others) + 1} of the {len(others) + 1}" in reason
    assert f"the best had {min(others):.3f}" in reason


def test_no_peers() -> None:
    assert peers("none", 240, eta=2, min_share=0.25) is None


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
