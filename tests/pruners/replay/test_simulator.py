"""A replay is a study: what a pruner does to recorded curves is what it does to live trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.replay.simulator import ReplayedTrial, replay
from pruners.rules import Decision
from tests.pruners.samples import BLURRED, MUTE, curves_of, mixed, trial


class Watching(ExplainedPruner):
    """Stops the trials of some numbers at a step, by a rule, and keeps what it saw of the study."""

    seen: ClassVar[list[tuple[dict[str, Any], dict[int, float], list[FrozenTrial]]]] = []

    def __init__(self, numbers: Sequence[int] = (), step: int = 30, rule: str = "coverage") -> None:
        self.numbers, self.step, self.rule, self.asked = numbers, step, rule, 0

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        self.asked += 1
        others = study.get_trials(deepcopy=True)[: trial.number]
        self.seen.append((dict(trial.user_attrs), dict(trial.intermediate_values), others))
        stops = trial.number in self.numbers and trial.last_step == self.step
        return Decision(True, self.rule, 0.5, "seen enough") if stops else None


class Plain(optuna.pruners.BasePruner):
    """Stops the first trial at once, without a reason, as Optuna's pruners do; keeps what the next one sees of it."""

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


def test_a_finished_trial_looks_as_a_study_leaves_it(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.6, BLURRED, MUTE), trial(0.7), trial(0.8, nan_at=3), trial(0.9))
    replay(curves, Watching([2]))
    well, sick, stopped, broken = Watching.seen[-1][2]
    assert [one.state for one in (well, sick, stopped, broken)] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    assert (well.value, sick.value) == (0.5, 0.6)
    for one, curve in ((well, curves[0]), (sick, curves[1])):
        assert one.constraints == {f"health/{name}": amount for name, amount in curve.violations.items()}
    assert max(well.constraints.values()) <= 0 < max(sick.constraints.values())
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("coverage", {"health/coverage": 0.5})
    assert (broken.user_attrs["pruned_by"], broken.constraints) == ("nonfinite", {"health/nonfinite": 1.0})


def test_standing_behind_the_peers_is_no_illness(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Watching([0], rule="peers"))
    (stopped,) = Watching.seen[-1][2]
    assert (stopped.user_attrs["pruned_by"], stopped.constraints) == ("peers", {})


def test_a_pruner_without_a_reason_makes_nobody_sick(tmp_path: Path) -> None:
    replay(curves_of(tmp_path, trial(0.5), trial(0.6)), Plain())
    (stopped,) = Plain.seen
    assert (stopped.user_attrs["pruned_by"], stopped.constraints, stopped.state) == ("Plain", {}, TrialState.PRUNED)


def test_outcomes(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.6), trial(0.7, nan_at=5))
    assert replay(curves, Watching([1])) == [
        ReplayedTrial(120, value=0.5),
        ReplayedTrial(30, "coverage"),
        ReplayedTrial(50, "nonfinite"),
    ]


def test_nobody_survives_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    (outcome,) = replay(curves_of(tmp_path, trial(0.5, nan_at=1)), NopPruner())
    assert outcome == ReplayedTrial(10, "nonfinite")


def test_a_pruner_of_optunas_decides_as_in_a_study_of_its_own(tmp_path: Path) -> None:
    """The same values in a loop as Optuna's documentation writes it."""
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


def test_a_replay_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither in a pruner that remembers nor in Optuna's verbosity."""
    pruner = Watching()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        replay(curves_of(tmp_path, *mixed()), pruner)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert Watching.seen
    assert pruner.asked == 0
