"""The figures of a replay: calculated by hand, independent of the number of workers, with intervals as wide as chance."""

import json
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest

from objective.runtime.endings import ending
from pruners.replay.archive import Curve
from pruners.replay.baselines import contenders
from pruners.replay.metrics import Played, evaluate, figures, play, play_all
from tests.pruners.samples import BLURRED, MUTE, WELL, curves_of, kill_this_process, mixed, spoken, trial


def played(curves: list[Curve], *rows: Sequence[tuple[float, str] | tuple[float, str, float]]) -> Played:
    """Return outcomes as (kframes, what stopped it, the value that it kept): without the last, none if it was stopped."""
    spent, by = (np.array([[cell[i] for cell in row] for row in rows], dtype=kind) for i, kind in enumerate((float, object)))
    value = [
        [cell[2] if len(cell) == 3 else np.nan if cell[1] else curve.value for cell, curve in zip(row, curves, strict=True)]
        for row in rows
    ]
    return Played(spent, by, np.array(value, float))


def test_figures_calculated_by_hand(tmp_path: Path) -> None:
    """Five healthy trials of values 0.5 to 0.9, so that decile and quarter are the first and the first two; three sick ones,
    of which one is not finite after a third of its budget and one has the lowest loss of all."""
    healthy = [trial(0.5 + 0.1 * n) for n in range(5)]
    curves = curves_of(tmp_path, *healthy, *(trial(end, BLURRED, MUTE) for end in (0.1, 0.4)), trial(0.4, WELL, MUTE, nan_at=4))
    assert [curve.condition for curve in curves] == ["healthy"] * 5 + ["sick"] * 3
    full, left = (120.0, ""), (40.0, "nonfinite")
    one = [(60.0, "peers"), full, full, (90.0, "peers"), full, (30.0, "coverage"), full, left]
    two = [full, (60.0, "peers"), full, full, full, (31.0, "coverage"), (30.0, "coverage"), left]
    got = figures(curves, played(curves, one, two), seed=0)
    frames = 7 * 120 + 40
    expected = {
        "frames_saved": ((60 + 30 + 90) + (60 + 89 + 90)) / 2 / frames,
        "regret": 0.05,  # 0.1 without the best one, 0 with it
        "top_decile_killed": 0.5,
        "top_quarter_killed": 0.5,
        "healthy_killed": 0.3,
        "sick_killed": (2 / 3 + 1) / 2,
        "sick_dead_by_quarter": 1 / 3,
        "delay": ((30 + 120 + 40) + (31 + 30 + 40)) / 2 / 360,
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert got["by_rule"] == {
        "coverage": {"stopped": 1.5, "frames_saved": pytest.approx((90 + 89 + 90) / 2 / frames, abs=1e-6)},
        "nonfinite": {"stopped": 1.0, "frames_saved": 0.0},
        "peers": {"stopped": 1.5, "frames_saved": pytest.approx((60 + 30 + 60) / 2 / frames, abs=1e-6)},
    }
    for name in expected:
        low, high = got[f"{name}_interval"]
        assert low <= high
    assert (got["ended_early"], got["ended_worse"]) == (0, None)


def test_a_trial_that_was_ended_with_its_snapshot_is_not_killed(tmp_path: Path) -> None:
    """Three healthy trials of values 0.01, 0.02 and 0.03: the first ends early with 0.06, in one of two orders with 0.03."""
    curves = curves_of(tmp_path, *(spoken({6: 0.06, 9: 0.03, 12: value}) for value in (0.01, 0.02, 0.03)))
    assert [curve.condition for curve in curves] == ["healthy"] * 3
    full, lost = (120.0, ""), (30.0, "coverage")
    got = figures(
        curves, played(curves, [(60.0, "stagnation", 0.06), full, lost], [(90.0, "stagnation", 0.03), lost, full]), seed=0
    )
    assert (got["healthy_killed"], got["top_decile_killed"]) == (pytest.approx(1 / 3, abs=1e-6), 0)
    assert (got["ended_early"], got["ended_worse"]) == (pytest.approx(1 / 3, abs=1e-6), pytest.approx((0.05 + 0.02) / 2))
    assert got["regret"] == pytest.approx((0.01 + 0.02) / 2), "the best value that is left: 0.02, and then 0.03"
    assert got["frames_saved"] == pytest.approx((60 + 90 + 30 + 90) / 2 / 360)
    assert got["by_rule"]["stagnation"] == {"stopped": 1.0, "frames_saved": pytest.approx((60 + 30) / 2 / 360, abs=1e-6)}


def test_where_no_healthy_trial_survives_the_regret_is_the_largest_possible(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.8), trial(0.1, BLURRED, MUTE))
    rows = played(curves, [(30.0, "peers"), (30.0, "peers"), (120.0, "")])
    assert figures(curves, rows, seed=0)["regret"] == pytest.approx(0.3)


def test_a_figure_about_no_trial_is_none(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, trial(0.5), trial(0.8))
    got = figures(curves, played(curves, [(120.0, "")] * 2), seed=0)
    assert (got["delay"], got["delay_interval"], got["sick_killed"]) == (None, None, None)
    assert (got["regret"], got["frames_saved"]) == (0, 0)
    json.dumps(got, allow_nan=False)


def test_the_interval_is_as_wide_as_chance(tmp_path: Path) -> None:
    """One half of 64 trials stopped at the start: sampling 64 with replacement spreads the share by 0.5 / sqrt(64)."""
    curves = curves_of(tmp_path, *(trial(0.5) for _ in range(64)))
    row = [(0.0, "x") if n % 2 else (120.0, "") for n in range(64)]
    low, high = figures(curves, played(curves, *[row] * 400), seed=0)["frames_saved_interval"]
    assert low == pytest.approx(0.5 - 1.96 / 16, abs=0.03)
    assert high == pytest.approx(0.5 + 1.96 / 16, abs=0.03)


def test_the_outcome_of_a_trial_is_found_at_any_place_in_the_order(tmp_path: Path) -> None:
    """A rule about the trial itself gives the same row in every order; a rule about peers does not."""
    curves = curves_of(tmp_path, *mixed())
    available = contenders(curves, curves)
    own = play(curves, available["threshold"], 0, range(6))
    assert (own.spent == own.spent[0]).all()
    assert len(set(own.spent[0])) > 1
    others = play(curves, available["asha-2"], 0, range(6))
    assert not (others.spent == others.spent[0]).all()


def test_figures_depend_on_the_seed_and_not_on_the_workers(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, *mixed())
    names = ["default", "asha-3", "random"]
    assert evaluate(curves, curves, names, orders=7, seed=5) == evaluate(curves, curves, names, orders=7, seed=5, workers=2)
    assert evaluate(curves, curves, names, orders=7, seed=5) != evaluate(curves, curves, names, orders=7, seed=6)


def test_none_saves_nothing_and_costs_nothing(tmp_path: Path) -> None:
    curves = curves_of(tmp_path, *mixed())
    got = evaluate(curves, curves, ["none"], orders=3)["none"]
    assert (got["frames_saved"], got["regret"], got["healthy_killed"]) == (0, 0, 0)
    assert got["by_rule"] == {"nonfinite": {"stopped": 1.0, "frames_saved": 0.0}}


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_the_middle_ends_the_workers(tmp_path: Path, workers: int) -> None:
    curves, before = curves_of(tmp_path, *mixed()), set(multiprocessing.active_children())
    done = []

    def interrupt(orders: int) -> None:
        done.append(orders)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        evaluate(curves, curves, ["none"], orders=2_000, workers=workers, advance=interrupt)
    assert len(done) == 1
    assert set(multiprocessing.active_children()) <= before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_killed_worker_ends_the_command_as_a_failure_of_the_machine(tmp_path: Path) -> None:
    curves, before = curves_of(tmp_path, *mixed()), set(multiprocessing.active_children())
    with pytest.raises(BrokenExecutor) as broken:
        play_all(curves, {"killed": kill_this_process}, orders=7, seed=0, workers=2, advance=lambda orders: None)
    code, sentence = ending(broken.value)
    assert code == 1
    assert sentence is not None
    assert sentence.startswith("the machine failed: ")
    assert set(multiprocessing.active_children()) <= before
