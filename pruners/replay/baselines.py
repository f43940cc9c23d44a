"""The pruners that a replay compares: the shipped one, parts of it, and baselines.

A contender maps curves, in the order of their trials, to their outcomes. Optuna's pruners and ours run in a study; i-Epoch and
random kills, which decide about all trials at once, are plain functions of the curves.
"""

import random
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import optuna
from optuna.pruners import (
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from pruners.factory import make_pruner
from pruners.health_pruner import HealthPruner
from pruners.peer_pruner import PeerPruner
from pruners.replay.archive import Curve
from pruners.replay.simulator import ReplayedTrial, replay, unstopped
from pruners.rules import shipped_rules
from pruners.thresholds import PrunerSettings, Thresholds

Contender = Callable[[Sequence[Curve]], list[ReplayedTrial]]

OURS = ("default", "with-peers", "attention", "peers")
QUARTER = 0.25  # share of the budget at which the threshold starts to count and the random kills happen
STARTUP = 5  # finished trials before a percentile is meaningful
WARMUP = 0.2  # share of the budget, for the percentiles
PATIENCE = 3  # reports without a gain
RUNGS = 12  # the first rung of successive halving is at 1 / RUNGS of the budget
I_EPOCH_TRIALS = 64  # out of so many trials i-Epoch keeps 4, 8 or 16; out of fewer, in proportion


def contenders(curves: Sequence[Curve], chosen: Sequence[Curve]) -> dict[str, Contender]:
    """Return every contender for `curves` by name, except random kills, which need the cost of `default`.

    The threshold on the value is chosen on the `chosen` curves, as one would have to in practice.
    """
    budget, score = max(curve.budget_kframes for curve in curves), curves[0].score
    sequential = {
        "default": make_pruner(budget, score=score),
        "with-peers": make_pruner(budget, PrunerSettings(name="both"), score=score),
        "attention": HealthPruner(shipped_rules(Thresholds(), cause="unaligned")),
        "peers": PeerPruner(budget, score=score),
        **_optuna_pruners(budget, _median_value(chosen)),
    }
    functions = {
        f"i-epoch-1/{round(1 / share)}-{keep}": partial(i_epoch, share=share, keep=_scaled(keep, len(curves)))
        for share in (1 / 8, 1 / 4, 1 / 2)
        for keep in (4, 8, 16)
    }
    return {**{name: partial(replay, pruner=pruner) for name, pruner in sequential.items()}, **functions}


def _optuna_pruners(budget: float, value: float) -> dict[str, optuna.pruners.BasePruner]:
    """Return Optuna's pruners with sensible warm-ups; their steps are thousands of frames."""
    warmup, first, last = round(WARMUP * budget), max(1, round(budget / RUNGS)), max(1, round(budget))
    halving = {f"asha-{eta}": SuccessiveHalvingPruner(min_resource=first, reduction_factor=eta) for eta in (2, 3, 4)}
    middle = MedianPruner(STARTUP, warmup)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        patient = {"patient": PatientPruner(None, PATIENCE), "patient-median": PatientPruner(middle, PATIENCE)}
    return {
        "none": NopPruner(),
        "median": middle,
        "percentile-25": PercentilePruner(25.0, STARTUP, warmup),
        "percentile-75": PercentilePruner(75.0, STARTUP, warmup),
        **halving,
        "hyperband": HyperbandPruner(min_resource=first, max_resource=last),
        "threshold": ThresholdPruner(upper=value, n_warmup_steps=round(QUARTER * budget)),
        **patient,
    }


def i_epoch(curves: Sequence[Curve], share: float, keep: int) -> list[ReplayedTrial]:
    """Train every trial for `share` of its budget, then the `keep` with the lowest values to the end (Egele et al. 2024)."""
    values = [_value_at(curve, share) for curve in curves]
    ranked = sorted((value, number) for number, (_, value) in enumerate(values) if value is not None)
    kept = {number for _, number in ranked[:keep]}
    return [
        unstopped(curve) if number in kept else _stopped(curve, "i-epoch", values[number][0])
        for number, curve in enumerate(curves)
    ]


def random_kills(curves: Sequence[Curve], share: float) -> list[ReplayedTrial]:
    """Stop each trial at a quarter of its budget with probability `share`; in the same order the same trials are stopped."""
    draw = random.Random(repr([curve.k for curve in curves]))
    return [_killed(curve) if draw.random() < share else unstopped(curve) for curve in curves]


def equal_share(curves: Sequence[Curve], frames_saved: float) -> float:
    """Return the share of trials that random kills must stop to save `frames_saved` of the frames; 1 where that is too much."""
    full = sum(curve.full_kframes for curve in curves)
    savable = full - sum(_killed(curve).kframes for curve in curves)
    return min(1.0, max(0.0, frames_saved * full / savable)) if savable else 0.0


def _value_at(curve: Curve, share: float) -> tuple[int, float | None]:
    """Return the place and the value of the first report with a value at `share` of the budget or later, else of the last."""
    later = range(_place_at(curve, share), curve.last + 1)
    place = next((place for place in later if curve.values[place] is not None), curve.last)
    return place, curve.values[place]


def _place_at(curve: Curve, share: float) -> int:
    """Return the place of the first report at `share` of the budget or later, else of the last one."""
    reached = (i for i, record in enumerate(curve.prefixes) if record["kframes"][-1] >= share * curve.budget_kframes)
    return min(curve.last, next(reached, curve.last))


def _killed(curve: Curve) -> ReplayedTrial:
    return _stopped(curve, "random", _place_at(curve, QUARTER))


def _stopped(curve: Curve, by: str, place: int) -> ReplayedTrial:
    """Return the outcome of a curve that is stopped at a report; where its loss is not finite, it ended by itself."""
    if curve.val_losses[place] is None:
        return unstopped(curve)
    return ReplayedTrial(curve.prefixes[place]["kframes"][-1], pruned_by=by)


def _median_value(curves: Sequence[Curve]) -> float:
    """Return the median value at a quarter of the budget; infinity, which stops no trial, where no value is known."""
    values = [value for curve in curves if (value := _value_at(curve, QUARTER)[1]) is not None]
    return median(values) if values else float("inf")


def _scaled(keep: int, count: int) -> int:
    return max(1, round(keep * min(1.0, count / I_EPOCH_TRIALS)))
