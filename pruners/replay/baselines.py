"""The pruners that a replay compares: what we ship, parts of it, and what others have.

A contender maps curves in the order of their trials to their outcomes. Optuna's pruners and ours go through a study; i-Epoch
and random kills, which decide about all trials at once, are plain functions of the curves.
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

from pruners.combinators import attention
from pruners.factory import shipped
from pruners.health_pruner import HealthPruner
from pruners.peer_pruner import PeerPruner
from pruners.replay.archive import Curve
from pruners.replay.simulator import ReplayedTrial, replay
from pruners.thresholds import Levels, Pruner

Contender = Callable[[Sequence[Curve]], list[ReplayedTrial]]

OURS = ("default", "with-peers", "attention", "peers")
QUARTER = 0.25  # of the budget: when the threshold begins and the random kills fall
STARTUP = 5  # finished trials before a percentile means anything
WARMUP = 0.2  # of the budget, for the percentiles
PATIENCE = 3  # reports without a gain
RUNGS = 12  # the first rung of successive halving is this part of the budget
I_EPOCH_TRIALS = 64  # of so many trials i-Epoch keeps 4, 8 or 16; of fewer, in proportion


def contenders(curves: Sequence[Curve], chosen: Sequence[Curve]) -> dict[str, Contender]:
    """Every contender for the curves to be judged, but random kills, which need the cost of `default`.

    The threshold on the loss is read from the `chosen` curves, as whoever uses it would have to.
    """
    budget = max(curve.budget_kframes for curve in curves)
    sequential = {
        "default": shipped(budget),
        "with-peers": shipped(budget, Pruner(name="both")),
        "attention": HealthPruner(attention(Levels())),
        "peers": PeerPruner(budget),
        **_optunas(budget, _usual_loss(chosen)),
    }
    functions = {
        f"i-epoch-1/{round(1 / share)}-{keep}": partial(i_epoch, share=share, keep=_scaled(keep, len(curves)))
        for share in (1 / 8, 1 / 4, 1 / 2)
        for keep in (4, 8, 16)
    }
    return {**{name: partial(replay, pruner=pruner) for name, pruner in sequential.items()}, **functions}


def _optunas(budget: float, loss: float) -> dict[str, optuna.pruners.BasePruner]:
    """Optuna's pruners with sensible warm-ups; their steps are thousands of frames."""
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
    at = [_point(curve, share) for curve in curves]
    standing = [(loss, place) for place, (_, loss) in enumerate(at) if loss is not None]
    kept = {place for _, place in sorted(standing)[:keep]}
    return [_outcome(curve, None if place in kept else "i-epoch", share) for place, curve in enumerate(curves)]


def random_kills(curves: Sequence[Curve], share: float) -> list[ReplayedTrial]:
    """Each trial is stopped at a quarter of its budget with probability `share`; the same order has the same victims."""
    draw = random.Random(repr([curve.k for curve in curves]))
    return [_outcome(curve, "random" if draw.random() < share else None, QUARTER) for curve in curves]


def equal_share(curves: Sequence[Curve], frames_saved: float) -> float:
    """The share of trials that random kills must stop to save so large a share of the frames; 1 where all do not suffice."""
    full = sum(curve.full_kframes for curve in curves)
    savable = full - sum(_outcome(curve, "random", QUARTER).kframes for curve in curves)
    return min(1.0, max(0.0, frames_saved * full / savable)) if savable else 0.0


def _point(curve: Curve, share: float) -> tuple[float, float | None]:
    """(kframes, validation loss) of the first point at `share` of the budget or later; of the last one of a shorter trial."""
    last = curve.val_losses.index(None) if None in curve.val_losses else len(curve.val_losses) - 1
    reached = (i for i, record in enumerate(curve.prefixes) if record["kframes"][-1] >= share * curve.budget_kframes)
    i = min(last, next(reached, last))
    return curve.prefixes[i]["kframes"][-1], curve.val_losses[i]


def _outcome(curve: Curve, stopped_by: str | None, share: float) -> ReplayedTrial:
    """A curve that is stopped at `share` of its budget, unless it is not finite before that, or never stopped."""
    kframes, _ = _point(curve, share)
    finite = None not in curve.val_losses
    if stopped_by is not None and (finite or kframes < curve.full_kframes):
        return ReplayedTrial(kframes, stopped_by)
    return ReplayedTrial(curve.full_kframes, value=curve.value) if finite else ReplayedTrial(curve.full_kframes, "nonfinite")


def _usual_loss(curves: Sequence[Curve]) -> float:
    """The median loss at a quarter of the budget; infinite where no loss is known, which stops nobody."""
    losses = [loss for curve in curves if (loss := _point(curve, QUARTER)[1]) is not None]
    return median(losses) if losses else float("inf")


def _scaled(keep: int, count: int) -> int:
    return max(1, round(keep * min(1.0, count / I_EPOCH_TRIALS)))
