"""A replayed trial that holds a healthy snapshot keeps its value, whatever stops it, as a live one does."""

import copy
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.decision import Decision
from pruners.factory import make_pruner
from pruners.replay.archive import read
from pruners.replay.baselines import contenders
from pruners.replay.metrics import play
from pruners.replay.simulator import ReplayedTrial, replay
from storage.outcome import HEALTHY_AT
from tests.pruners.samples import STEP, curves_of, mixed, overfitted, spoken, written

VALUES = st.dictionaries(st.integers(1, 12), st.sampled_from([0.02, 0.05, 0.1, 0.3, 0.9]), min_size=1)


class Stops(ExplainedPruner):
    """Stops the first trial at a report, given by its place; shows what the second one sees of it."""

    def __init__(self, place: int, seen: list[Any]) -> None:
        self.place, self.seen = place, seen

    def __deepcopy__(self, memo: object) -> "Stops":
        return copy.copy(self)

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        first = study.get_trials(deepcopy=True)[0]
        self.seen.append(first)
        reached = len(trial.user_attrs["health"]["kframes"]) > self.place
        return Decision(True, "coverage", 0.5, "seen enough") if trial.number == 0 and reached else None


class AtOnce(optuna.pruners.BasePruner):
    """Stops every trial once it has reported a value, without a reason, as Optuna's pruners do."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return trial.last_step is not None


def test_an_overfitted_end_keeps_the_value_of_its_healthy_snapshot(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, overfitted(), spoken({12: 0.05}))
    outcome, _ = replay(curves, make_pruner(120.0))
    assert (outcome.ended_by, outcome.pruned_by, outcome.value) == ("overfit_gap", None, 0.04)
    assert 60 < outcome.kframes < 120
    assert outcome.kept is not None
    assert outcome.kept.kframes == 60


def test_a_trial_that_was_ended_is_complete_in_the_study(tmp_path: Path) -> None:
    seen: list[FrozenTrial] = []
    replay(curves_of(tmp_path, overfitted(), spoken({12: 0.05})), Stops(8, seen))
    running, ended = seen[8], seen[-1]
    assert (running.intermediate_values, running.user_attrs[HEALTHY_AT]) == ({30: 0.4, 60: 0.04, 90: 0.3}, 60)
    assert (ended.state, ended.value, ended.user_attrs["ended_by"]) == (TrialState.COMPLETE, 0.04, "coverage")
    assert "pruned_by" not in ended.user_attrs
    assert max(ended.constraints.values()) <= 0


@given(VALUES, st.integers(0, 11), st.none() | st.integers(1, 12))
def test_no_trial_is_pruned_once_it_is_healthy(
    tmp_path_factory: pytest.TempPathFactory, values: dict[int, float], place: int, nan_at: int | None
) -> None:
    line = spoken(values)
    for point in line["points"][nan_at - 1 :] if nan_at else ():
        point |= {"val_loss": None, "free_value": None, "free_errors": None, "free_floor": None, "free_failures": None}
    (curve,) = read(written(tmp_path_factory.getbasetemp(), line))
    (outcome,) = replay([curve], Stops(place, []))
    heard = {n: value for n, value in values.items() if n * STEP <= outcome.kframes and (nan_at is None or n < nan_at)}
    healthy = [value for value in heard.values() if value <= 0.1]
    if healthy:
        assert (outcome.value, outcome.pruned_by) == (min(healthy), None)
    elif outcome.ended_by is None and outcome.pruned_by is None:
        assert outcome.value == min(heard.values())
    else:
        assert (outcome.value, outcome.ended_by) == (None, None)


def test_a_pruner_of_optuna_loses_the_snapshot(tmp_path: Path) -> None:
    (outcome,) = replay(curves_of(tmp_path, overfitted()), AtOnce())
    assert outcome == ReplayedTrial(30, pruned_by="AtOnce")
    curves = curves_of(tmp_path, spoken({3: 0.05, 12: 0.02}), spoken({3: 0.04, 12: 0.03}))
    assert [outcome.pruned_by for outcome in contenders(curves, curves)["i-epoch-1/4-4"](curves)] == ["i-epoch", None]


def test_a_trial_whose_synthesis_was_never_finite_has_no_value(tmp_path: Path) -> None:
    (curve,) = curves_of(tmp_path, spoken({}))
    assert replay([curve], NopPruner()) == [ReplayedTrial(120, pruned_by="nonfinite")]


def test_the_baselines_work_where_few_reports_have_a_value(tmp_path: Path) -> None:
    """Twelve trials in two tiers: each baseline stops some of the worse, at reports with a value, and none of the best."""
    lines = [spoken({n: tier + 0.4 / n + 0.001 * k for n in (3, 6, 12)}) for k in range(6) for tier in (0.0, 0.5)]
    curves = curves_of(tmp_path, *lines)
    available = contenders(curves, curves)
    for name in ("median", "percentile-25", "asha-2", "asha-3", "hyperband", "threshold", "i-epoch-1/4-8"):
        outcomes = available[name](curves)
        stopped = {k for k, outcome in enumerate(outcomes) if outcome.pruned_by is not None}
        assert stopped, name
        assert 0 not in stopped, name
        assert {outcomes[k].kframes for k in stopped} <= {30, 60, 120}, name


def test_an_archive_of_an_older_version_is_replayed_as_by_it(tmp_path: Path) -> None:
    """The kframes are those that version 0d6921b spent, before trials were judged by what they say."""
    curves = curves_of(tmp_path, *mixed(24))
    available = contenders(curves, curves)
    expected = {"none": 2800, "median": 1890, "percentile-25": 1530, "asha-2": 980, "hyperband": 1470, "threshold": 1800}
    expected |= {"i-epoch-1/4-8": 990, "i-epoch-1/8-16": 1080}
    assert {name: play(curves, available[name], 0, [0]).spent.sum() for name in expected} == expected
