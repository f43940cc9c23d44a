"""A replay is a study: a pruner treats recorded curves as it treats live trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.decision import Decision
from pruners.replay.simulator import ReplayedTrial, replay
from storage.outcome import HEALTHY_AT
from tests.pruners.samples import BLURRED, MUTE, WELL, curves_of, mixed, trial


class Watching(ExplainedPruner):
    """Stops the trials of some numbers at a step, by a rule, and records what it sees of the study."""

    seen: ClassVar[list[tuple[dict[str, Any], dict[int, float], list[FrozenTrial]]]] = []

    def __init__(self, numbers: Sequence[int] = (), step: int = 30, rule: str = "coverage") -> None:
        self.numbers, self.step, self.rule, self.calls = numbers, step, rule, 0

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        self.calls += 1
        others = study.get_trials(deepcopy=True)[: trial.number]
        self.seen.append((dict(trial.user_attrs), dict(trial.intermediate_values), others))
        stops = trial.number in self.numbers and trial.last_step == self.step
        return Decision(True, self.rule, 0.5, "seen enough") if stops else None


class Plain(optuna.pruners.BasePruner):
    """Stops the first trial at once, without a reason, as Optuna's pruners do; records what the next one sees of it."""

    seen: ClassVar[list[FrozenTrial]] = []

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.seen[:] = study.get_trials(deepcopy=True)[:1]
        return trial.number == 0


@pytest.fixture(autouse=True)
def _unseen() -> None:
    Watching.seen.clear()


def test_a_pruner_sees_the_record_and_the_steps_of_a_live_trial(tmp_path: Path) -> None:
    line = trial(0.5)
    for n, point in enumerate(line["points"], 1):
        point["kframes"] = n * 16.667
    (curve,) = curves_of(tmp_path, line)
    replay([curve], Watching())
    assert [attributes["health"] for attributes, _, _ in Watching.seen] == list(curve.prefixes)
    steps = [round(record["kframes"][-1]) for record in curve.prefixes]
    assert steps[:3] == [17, 33, 50]
    assert Watching.seen[-1][1] == dict(zip(steps, curve.val_losses, strict=True))


def test_a_finished_trial_has_the_attributes_and_constraints_of_a_live_one(tmp_path: Path) -> None:
    curves = curves_of(
        tmp_path, trial(0.5), trial(0.6, BLURRED, MUTE), trial(0.7), trial(0.8, WELL, MUTE, nan_at=3), trial(0.9)
    )
    replay(curves, Watching([2]))
    well, sick, stopped, broken = Watching.seen[-1][2]
    assert [one.state for one in (well, sick, stopped, broken)] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    assert (well.value, sick.value) == (0.5, 0.6)
    for one, curve in ((well, curves[0]), (sick, curves[1])):
        assert one.constraints == {f"health/{name}": amount for name, amount in curve.violations.items()}
    assert max(well.constraints.values()) <= 0 < max(sick.constraints.values())
    assert well.user_attrs[HEALTHY_AT] == 120, "the kept one, which alone was listened to"
    assert HEALTHY_AT not in sick.user_attrs
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("coverage", {"health/coverage": 0.5})
    assert (broken.user_attrs["pruned_by"], broken.constraints) == ("nonfinite", {"health/nonfinite": 1.0})


def test_a_trial_behind_its_peers_is_not_sick(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Watching([0], rule="peers"))
    (stopped,) = Watching.seen[-1][2]
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("peers", {})


def test_a_trial_that_is_pruned_without_a_reason_is_not_sick(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Plain())
    (stopped,) = Plain.seen
    assert (stopped.user_attrs["pruned_by"], stopped.constraints, stopped.state) == ("Plain", {}, TrialState.PRUNED)


def test_an_outcome_says_what_was_spent_and_which_rule_stopped_the_trial(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.6), trial(0.7, WELL, MUTE, nan_at=5))
    assert replay(curves, Watching([1])) == [
        ReplayedTrial(120, kept=curves[0].kept),
        ReplayedTrial(30, pruned_by="coverage"),
        ReplayedTrial(50, pruned_by="nonfinite"),
    ]


def test_no_trial_survives_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    (outcome,) = replay(curves_of(tmp_path, trial(0.5, nan_at=1)), NopPruner())
    assert outcome == ReplayedTrial(10, pruned_by="nonfinite")


def test_a_pruner_of_optuna_decides_as_in_a_plain_study(tmp_path: Path) -> None:
    """The same values are reported in a loop as in Optuna's documentation."""
    curves = curves_of(tmp_path, *(trial(0.5 + 0.07 * (n * 5 % 9), nan_at=6 if n == 3 else None) for n in range(9)))
    pruners = {
        "MedianPruner": lambda: MedianPruner(n_startup_trials=2, n_warmup_steps=20),
        "SuccessiveHalvingPruner": lambda: SuccessiveHalvingPruner(min_resource=20, reduction_factor=2),
    }
    for name, pruner in pruners.items():
        study = optuna.create_study(pruner=pruner())
        left = iter(curves)

        def objective(trial: optuna.Trial, left: Any = left, name: str = name) -> float:
            for record, loss in zip((curve := next(left)).prefixes, curve.val_losses, strict=True):
                if loss is None:
                    raise optuna.TrialPruned
                trial.report(loss, round(record["kframes"][-1]))
                if trial.should_prune():
                    trial.set_user_attr("by", name)
                    raise optuna.TrialPruned
            return curve.value or 0.0

        study.optimize(objective, n_trials=len(curves))
        outcomes = replay(curves, pruner())
        assert any(outcome.pruned_by == name for outcome in outcomes)
        for mine, theirs in zip(outcomes, study.trials, strict=True):
            assert mine.value == (theirs.value if theirs.state == TrialState.COMPLETE else None)
            assert mine.pruned_by in (theirs.user_attrs.get("by"), "nonfinite")
            if mine.pruned_by != "nonfinite":
                assert mine.kframes == theirs.last_step


def test_a_replay_changes_neither_the_pruner_nor_optunas_verbosity(tmp_path: Path) -> None:
    pruner = Watching()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        replay(curves_of(tmp_path, *mixed()), pruner)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert Watching.seen
    assert pruner.calls == 0
