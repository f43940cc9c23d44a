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
from pruners.replay.simulator import ReplayedTrial, replay
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

    The threshold on the loss is chosen on the `chosen` curves, as one would have to in practice.
    """
    budget = max(curve.budget_kframes for curve in curves)
    sequential = {
        "default": make_pruner(budget),
        "with-peers": make_pruner(budget, PrunerSettings(name="both")),
        "attention": HealthPruner(shipped_rules(Thresholds(), cause="unaligned")),
        "peers": PeerPruner(budget),
        **_optuna_pruners(budget, _median_loss(chosen)),
    }
    functions = {
        f"i-epoch-1/{round(1 / share)}-{keep}": partial(i_epoch, share=share, keep=_scaled(keep, len(curves)))
        for share in (1 / 8, 1 / 4, 1 / 2)
        for keep in (4, 8, 16)
    }
    return {**{name: partial(replay, pruner=pruner) for name, pruner in sequential.items()}, **functions}


def _optuna_pruners(budget: float, loss: float) -> dict[str, optuna.pruners.BasePruner]:
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
        "threshold": ThresholdPruner(upper=loss, n_warmup_steps=round(QUARTER * budget)),
        **patient,
    }


def i_epoch(curves: Sequence[Curve], share: float, keep: int) -> list[ReplayedTrial]:
    """Train every trial for `share` of its budget, then the `keep` with the lowest losses to the end (Egele et al. 2024)."""
    losses = [_report_at(curve, share)[1] for curve in curves]
    ranked = sorted((loss, place) for place, loss in enumerate(losses) if loss is not None)
    kept = {place for _, place in ranked[:keep]}
    return [_outcome(curve, None if place in kept else "i-epoch", share) for place, curve in enumerate(curves)]


def random_kills(curves: Sequence[Curve], share: float) -> list[ReplayedTrial]:
    """Stop each trial at a quarter of its budget with probability `share`; in the same order the same trials are stopped."""
    draw = random.Random(repr([curve.k for curve in curves]))
    return [_outcome(curve, "random" if draw.random() < share else None, QUARTER) for curve in curves]


def equal_share(curves: Sequence[Curve], frames_saved: float) -> float:
    """Return the share of trials that random kills must stop to save `frames_saved` of the frames; 1 where that is too much."""
    full = sum(curve.full_kframes for curve in curves)
    savable = full - sum(_outcome(curve, "random", QUARTER).kframes for curve in curves)
    return min(1.0, max(0.0, frames_saved * full / savable)) if savable else 0.0


def _report_at(curve: Curve, share: float) -> tuple[float, float | None]:
    """Return (kframes, validation loss) of the first report at `share` of the budget or later, else of the last one."""
    last = curve.val_losses.index(None) if None in curve.val_losses else len(curve.val_losses) - 1
    reached = (i for i, record in enumerate(curve.prefixes) if record["kframes"][-1] >= share * curve.budget_kframes)
    i = min(last, next(reached, last))
    return curve.prefixes[i]["kframes"][-1], curve.val_losses[i]


def _outcome(curve: Curve, stopped_by: str | None, share: float) -> ReplayedTrial:
    """Return the outcome of a curve that `stopped_by` stops at `share` of its budget; None stops nothing."""
    kframes, _ = _report_at(curve, share)
    finite = None not in curve.val_losses
    if stopped_by is not None and (finite or kframes < curve.full_kframes):
        return ReplayedTrial(kframes, stopped_by)
    return ReplayedTrial(curve.full_kframes, value=curve.value) if finite else ReplayedTrial(curve.full_kframes, "nonfinite")


def _median_loss(curves: Sequence[Curve]) -> float:
    """Return the median loss at a quarter of the budget; infinity, which stops no trial, where no loss is known."""
    losses = [loss for curve in curves if (loss := _report_at(curve, QUARTER)[1]) is not None]
    return median(losses) if losses else float("inf")


def _scaled(keep: int, count: int) -> int:
    return max(1, round(keep * min(1.0, count / I_EPOCH_TRIALS)))
