"""The baselines of a replay: i-Epoch, random kills and a threshold on the loss, on curves where the answer is known."""

import random
from pathlib import Path

import numpy as np
import pytest

from pruners.replay.baselines import contenders, equal_share, i_epoch, random_kills
from tests.pruners.samples import MUTE, WELL, curves_of, mixed, trial


def test_i_epoch_keeps_the_lowest_values_at_its_share(tmp_path: Path) -> None:
    """Trial 2 is low early and high late; trial 3 is not finite at that share; trial 4 is not finite before it."""
    early = trial(0.5)
    for n, point in enumerate(early["points"]):
        point["val_loss"] = 0.1 + n
    curves = curves_of(
        tmp_path, trial(0.5), trial(0.6), early, trial(0.4, WELL, MUTE, nan_at=3), trial(0.4, WELL, MUTE, nan_at=2)
    )
    outcomes = i_epoch(curves, share=0.25, keep=2)
    assert [outcome.kframes for outcome in outcomes] == [120, 120, 30, 30, 20]
    assert [outcome.pruned_by for outcome in outcomes] == [None, None, "i-epoch", "nonfinite", "nonfinite"]
    first = i_epoch(curves, share=1 / 12, keep=1)
    assert [outcome.value for outcome in first] == [None, None, curves[2].value, None, None]


@pytest.mark.parametrize("requested", [0.0, 0.2, 0.5])
def test_random_kills_save_the_requested_share_of_the_frames(tmp_path: Path, requested: float) -> None:
    curves = curves_of(tmp_path, *mixed(40))
    share = equal_share(curves, requested)
    full = sum(curve.full_kframes for curve in curves)
    draw, saved = random.Random(1), []
    for _ in range(400):
        order = draw.sample(curves, len(curves))
        saved.append(1 - sum(outcome.kframes for outcome in random_kills(order, share)) / full)
    assert np.mean(saved) == pytest.approx(requested, abs=0.01)
    assert random_kills(curves, share) == random_kills(curves, share)


def test_random_kills_stop_at_most_all_trials(tmp_path: Path) -> None:
    assert equal_share(curves_of(tmp_path, *mixed()), 0.99) == 1


def test_i_epoch_keeps_fewer_out_of_fewer_trials(tmp_path: Path) -> None:
    for count, kept in ((16, [1, 2, 4]), (64, [4, 8, 16]), (80, [4, 8, 16])):
        curves = curves_of(tmp_path, *(trial(0.5 + 0.01 * n) for n in range(count)))
        available = contenders(curves, curves)
        for share in (8, 4, 2):
            survivors = [sum(o.pruned_by is None for o in available[f"i-epoch-1/{share}-{k}"](curves)) for k in (4, 8, 16)]
            assert survivors == kept


def test_the_threshold_depends_on_the_chosen_half_alone(tmp_path: Path) -> None:
    """It is the median loss at a quarter of the budget: above all judged losses it stops no trial, below them every one."""
    curves = curves_of(tmp_path, *(trial(0.5 + 0.05 * n) for n in range(6)))
    low, high = (curves_of(tmp_path, *(trial(end) for _ in range(3))) for end in (0.1, 3.0))
    assert all(outcome.pruned_by is None for outcome in contenders(curves, high)["threshold"](curves))
    assert {(o.pruned_by, o.kframes) for o in contenders(curves, low)["threshold"](curves)} == {("ThresholdPruner", 30)}
