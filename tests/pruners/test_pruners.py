"""The health rules and the comparison with peers behind Optuna's interface, in plain Optuna studies."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial
from sqlalchemy import event

from pruners.decision import Rule
from pruners.health_pruner import DiagonalityPruner, GateAccuracyPruner, GradientNormPruner, HealthPruner, first_stop
from pruners.health_record import empty, extended
from pruners.peer_pruner import PeerPruner
from pruners.rules import shipped_rules
from pruners.thresholds import Floor, Thresholds
from storage.studies import open_storage
from tests.pruners.test_rules import BUDGET, THRESHOLDS, WELL, curve

RULES = shipped_rules(THRESHOLDS)


def run(
    study: optuna.Study, values: list[float], violations: dict[str, float] | None = None, **signals: float | list[float]
) -> optuna.trial.FrozenTrial:
    """Run a trial that reports `values` at every 10 kframes until it is pruned; it ends with the constraints `violations`."""
    trial = study.ask()
    record = empty(BUDGET)
    for i, value in enumerate(values):
        sick = {name: each[min(i, len(each) - 1)] if isinstance(each, list) else each for name, each in signals.items()}
        record = extended(record, {**WELL, **sick, "kframes": 10.0 * (i + 1), "val_loss": value})
        trial.set_user_attr("health", record)
        trial.report(value, 10 * (i + 1))
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            break
    else:
        for name, amount in (violations or {}).items():
            trial.set_constraint(f"health/{name}", amount)
        study.tell(trial, values[-1])
    return study.trials[trial.number]


FALLING = [2 * 0.9**i for i in range(24)]


def scaled(factor: float) -> list[float]:
    return [factor * value for value in FALLING]


@pytest.mark.parametrize(
    ("pruner", "sick", "step"),
    [
        (GradientNormPruner(patience_share=0.08), {"grad_norm_p95": 300.0}, 30),
        (DiagonalityPruner(patience_share=0.08, warmup_share=0.3), {"diagonality": 0.2}, 100),
        (GateAccuracyPruner(patience_share=0.08, warmup_share=0.6), {"gate_accuracy": 0.5}, 170),
        (HealthPruner(RULES), {"coverage": 0.1}, 100),
    ],
)
def test_a_sick_trial_is_pruned_with_its_reason(pruner: HealthPruner, sick: dict[str, float], step: int) -> None:
    study = optuna.create_study(pruner=pruner)
    well = run(study, FALLING)
    assert well.state.name == "COMPLETE"
    ended = run(study, FALLING, **sick)
    assert (ended.state.name, ended.last_step) == ("PRUNED", step)
    assert ended.value == ended.intermediate_values[step], "the last reported value, from which the sampler learns"
    (signal,) = sick
    assert ended.user_attrs["pruned_by"] == {"grad_norm_p95": "grad_norm"}.get(signal, signal)
    assert "3 of 3 validations since" in ended.user_attrs["pruned_reason"]
    assert ended.user_attrs["pruned_step"] == step
    assert ended.user_attrs["pruned_severity"] > 0


def test_a_trial_without_a_record_is_not_pruned() -> None:
    study = optuna.create_study(pruner=HealthPruner())
    trial = study.ask()
    trial.report(1.0, 10)
    assert not trial.should_prune()


def peers(**changes: float) -> HealthPruner:
    return HealthPruner(RULES, PeerPruner(BUDGET, **{"margin": 0.5, "slack": 0.1, "min_share": 0.25, "least": 2, **changes}))


def test_a_trial_far_behind_the_best_is_stopped_and_the_sentence_is_true() -> None:
    study = optuna.create_study(pruner=peers())
    assert run(study, FALLING).state.name == "COMPLETE"
    assert run(study, scaled(2.0)).state.name == "COMPLETE", "one healthy trial is too few to compare with"
    late = run(study, scaled(1.5))
    assert (late.user_attrs["pruned_by"], late.last_step) == ("peers", 60)
    assert late.user_attrs["pruned_reason"] == (
        f"behind its peers: value {1.5 * FALLING[5]:.3f} at 60 kframes; trial 0, the best healthy one, had {FALLING[5]:.3f} "
        f"there, and more than 1.48 times {FALLING[5]:.3f} cannot catch up"
    )
    near = run(study, scaled(1.25))
    assert (near.user_attrs["pruned_by"], near.last_step) == ("peers", 170), "a ratio that is allowed early is not allowed late"
    slow = [(1.4 - 0.02 * i) * value for i, value in enumerate(FALLING)]
    assert run(study, slow).state.name == "COMPLETE", "a slow start is not a bad end"
    assert run(study, scaled(0.9)).state.name == "COMPLETE"


def test_sick_trials_are_not_counted_as_peers() -> None:
    """Broken voices have the lowest losses of all: the healthy trials after them are not compared with them."""
    study = optuna.create_study(pruner=peers())
    for _ in range(3):
        assert run(study, scaled(0.3), diagonality=0.1).state.name == "PRUNED"
        assert run(study, scaled(0.3), violations={"reading": 0.5}).state.name == "COMPLETE"
    for factor in (1.0, 1.0, 1.0, 2.0):
        state = run(study, scaled(factor)).state.name
    assert state == "PRUNED"
    assert "trial 6, the best healthy one" in study.trials[-1].user_attrs["pruned_reason"]


def test_trials_that_report_on_other_grids_are_compared_at_the_next_step() -> None:
    study = optuna.create_study(pruner=PeerPruner(100, margin=0.5, slack=0.1, min_share=0.3, least=1))
    coarse = study.ask()
    for step, value in ((25, 9.0), (50, 1.0), (75, 1.0)):
        coarse.report(value, step)
    study.tell(coarse, 1.0)
    fine = study.ask()
    fine.report(90.0, 20)
    assert not fine.should_prune(), "before min_share nothing is compared"
    fine.report(1.5, 31)
    assert fine.should_prune()
    assert "1.500 at 31 kframes; trial 0, the best healthy one, had 1.000 there" in study.trials[1].user_attrs["pruned_reason"]
    fine.report(9.0, 80)
    assert not fine.should_prune(), "no healthy trial got that far"


def sparse(study: optuna.Study, values: dict[int, float]) -> FrozenTrial:
    """Run a trial of 100 kframes that asks at every ten, and reports a value at a few of them."""
    trial = study.ask()
    for step in range(10, 101, 10):
        if step in values:
            trial.report(values[step], step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return study.trials[trial.number]
    study.tell(trial, values[100])
    return study.trials[trial.number]


def test_a_value_near_zero_stops_nothing_that_is_understood() -> None:
    """Twice nothing is nothing: below a tenth of the letters no ratio counts. A loss has no such limit."""
    for score, state in (("speech", "COMPLETE"), ("loss", "PRUNED")):
        study = optuna.create_study(pruner=PeerPruner(100, margin=0.5, slack=0.5, least=1, score=score))
        assert sparse(study, {50: 0.001, 100: 0.001}).state.name == "COMPLETE"
        assert sparse(study, {50: 0.17, 100: 0.14}).state.name == state
        mumbling = sparse(study, {50: 0.18, 100: 0.1})
        assert mumbling.state.name == "PRUNED"
    assert mumbling.user_attrs["pruned_reason"].startswith("behind its peers: validation loss 0.180 at 50 kframes; trial 0")


def test_values_at_a_few_reports_are_compared_where_they_are() -> None:
    study = optuna.create_study(pruner=PeerPruner(100, margin=0.5, slack=0.1, min_share=0.3, least=1))
    sparse(study, {20: 0.9, 60: 0.4, 100: 0.3})
    ended = sparse(study, {20: 0.9, 60: 0.8, 100: 0.3})
    assert (ended.state.name, ended.last_step) == ("PRUNED", 60)
    assert sparse(study, {20: 9.0, 60: 0.5, 100: 0.3}).state.name == "COMPLETE"


SLOW = {"diagonality": [0.2] * 14 + [0.9]}  # critical until 140 of 240 kframes, healthy at the end


EARLY = shipped_rules(Thresholds(diagonality=Floor(0.7, 0.4, warmup_share=0.1)))


def test_a_slow_start_is_no_reason_before_a_trial_has_ended_healthy() -> None:
    study = optuna.create_study(pruner=HealthPruner(EARLY))
    assert run(study, FALLING, diagonality=0.2).last_step == 120, "half of the budget, while nobody has aligned"
    assert run(study, FALLING, violations={"understood": 0.5}).state.name == "COMPLETE"
    assert run(study, FALLING, diagonality=0.2).last_step == 60, "a quarter, where another one aligned at once"
    assert run(study, FALLING).state.name == "COMPLETE"
    assert run(study, FALLING, diagonality=0.2).last_step == 50
    explosion = optuna.create_study(pruner=HealthPruner(EARLY))
    assert run(explosion, FALLING, grad_norm_p95=300.0).last_step == 30, "a slow start does not explain an explosion"
    diverged = optuna.create_study(pruner=HealthPruner(shipped_rules(Thresholds(progress=Floor(0.05, -0.1, warmup_share=0.1)))))
    assert run(diverged, FALLING[::-1], diagonality=0.2).last_step == 80, "nor a loss that rises"


def test_a_trial_that_aligns_at_35_percent_survives_in_an_empty_study() -> None:
    attention = [name for name in WELL if name in ("diagonality", "coverage", "alignment_score", "reading")]
    late = {name: [0.05] * 8 + [WELL[name]] for name in attention}
    study = optuna.create_study(pruner=HealthPruner(shipped_rules(Thresholds())))
    assert run(study, FALLING, **late).state.name == "COMPLETE"
    hopeless = run(optuna.create_study(pruner=study.pruner), FALLING, **dict.fromkeys(attention, 0.05))
    assert (hopeless.state.name, hopeless.last_step) == ("PRUNED", 120)
    assert hopeless.user_attrs["pruned_by"] == "no_alignment"


def test_an_alignment_that_is_running_shows_what_is_usual_here() -> None:
    study = optuna.create_study(pruner=HealthPruner(EARLY))
    running = study.ask()
    running.set_user_attr("health", curve(9, diagonality=[0.1] * 8 + [0.9]))
    assert run(study, FALLING, diagonality=0.2).last_step == 120, "it took 38 % of the budget: others may take half"
    running.set_user_attr("health", curve(9, diagonality=[0.1] * 3 + [0.9]))
    assert run(study, FALLING, diagonality=0.2).last_step == 80, "twice as long as it took"


def test_a_rule_that_would_have_stopped_the_best_is_disarmed_with_a_warning() -> None:
    study = optuna.create_study(pruner=HealthPruner([]))
    run(study, FALLING, **SLOW)
    warnings: list[str] = []
    study.pruner = HealthPruner(RULES, warn=warnings.append)
    for _ in range(2):
        assert run(study, scaled(1.2), diagonality=0.2).state.name == "COMPLETE"
    assert warnings == [
        "rule diagonality is disarmed, it would have stopped trial 0, the best: "
        "diagonality 0.20 < 0.40 in 3 of 3 validations since 80 kframes"
    ], "one warning, not one at every report"
    skipping = run(study, FALLING, diagonality=0.2, coverage=0.1)
    assert skipping.user_attrs["pruned_by"] == "coverage", "the other rules are still armed"
    run(study, scaled(0.5))
    assert run(study, scaled(1.2), diagonality=0.2).state.name == "PRUNED", "a better one aligned in time: armed again"


def test_the_best_among_their_peers_are_protected_where_a_healthy_one_was_as_critical() -> None:
    study = optuna.create_study(pruner=HealthPruner([]))
    for factor in (1.0, 1.2, 1.3):
        run(study, scaled(factor))
    study.pruner = HealthPruner(RULES)
    assert run(study, scaled(0.9), diagonality=0.2).state.name == "PRUNED", "a low loss alone does not protect a trial"
    study.pruner = HealthPruner([])
    run(study, scaled(1.4), **SLOW)  # ends healthy, and is not the best
    study.pruner = HealthPruner(RULES)
    assert run(study, scaled(1.1), **SLOW).state.name == "PRUNED", "not among the best quarter"
    assert run(study, scaled(0.9), **SLOW).state.name == "COMPLETE"
    unprotected = optuna.create_study(pruner=HealthPruner(RULES, protected=0.0))
    unprotected.add_trials(study.trials[:3] + study.trials[4:5])
    assert run(unprotected, scaled(0.9), **SLOW).state.name == "PRUNED"


def test_nothing_protects_a_trial_that_is_not_finite() -> None:
    study = optuna.create_study(pruner=HealthPruner([]))
    for factor in (1.0, 1.2, 1.3):
        run(study, scaled(factor), streak=9)
    study.pruner = HealthPruner(RULES)
    assert run(study, scaled(0.5), streak=9).user_attrs["pruned_by"] == "nonfinite"


def test_a_lost_alignment_is_seen_where_a_median_rule_compares_the_best_values_so_far() -> None:
    lost = {"reading": [0.8] * 12 + [0.2]}
    rising = FALLING[:12] + [FALLING[11] * 1.2**i for i in range(12)]
    median = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    ours = optuna.create_study(pruner=HealthPruner(RULES))
    for study in (median, ours):
        for _ in range(3):
            run(study, [1.1 * max(value, FALLING[11]) for value in FALLING])
    assert run(median, rising, **lost).state.name == "COMPLETE"
    ended = run(ours, rising, **lost)
    assert (ended.user_attrs["pruned_by"], ended.last_step) == ("relapse", 150)


def test_first_stop_is_where_a_live_trial_ends() -> None:
    rule: Rule = next(rule for rule in RULES if rule.name == "diagonality")
    study = optuna.create_study(pruner=HealthPruner([rule]))
    run(study, FALLING)
    ended = run(study, FALLING, **SLOW)
    found = first_stop(rule, curve(**SLOW))
    assert found is not None
    assert found.evidence == ended.user_attrs["pruned_reason"]
    assert first_stop(rule, curve()) is None


def test_any_pruner_of_optuna_can_stand_behind_the_rules() -> None:
    study = optuna.create_study(pruner=HealthPruner(peers=optuna.pruners.MedianPruner(n_startup_trials=2)))
    for _ in range(2):
        run(study, FALLING)
    late = run(study, [5 * value for value in FALLING])
    assert late.user_attrs["pruned_by"] == "peers"
    assert late.user_attrs["pruned_reason"] == f"MedianPruner stopped it with value {5 * FALLING[0]:.4g} at step 10"


def test_a_report_with_health_costs_five_statements(tmp_path: Path) -> None:
    """Three for the report, two for the record, none for the decision."""
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, pruner=HealthPruner())
    trial = study.ask()
    record = extended(empty(BUDGET), {**WELL, "kframes": 10.0})
    statements: list[str] = []
    event.listen(
        storage._backend.engine,  # type: ignore[attr-defined]
        "before_cursor_execute",
        lambda *call: statements.append(call[2]),
    )
    trial.set_user_attr("health", record)
    trial.report(1.0, 10)
    assert not trial.should_prune()
    assert len(statements) <= 5, statements
