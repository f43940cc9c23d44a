"""Measure what pruners save and what they cost: figures over many orders of the same recorded trials, with intervals."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from multiprocessing import get_context, resource_tracker
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruners.replay.archive import Curve
from pruners.replay.baselines import QUARTER, Contender, contenders, equal_share, random_kills

Array = NDArray[np.float64]

ORDERS_AT_ONCE = 5  # in one task of a worker: less than a second, so that an interrupt is quick
INTERVAL = (2.5, 97.5)  # per cent


@dataclass(frozen=True, slots=True)
class Played:
    """Outcomes of the same trials in many orders, each row by trial and not by its place in the order."""

    spent: Array  # (orders, trials) kframes
    stopped_by: NDArray[np.object_]  # (orders, trials) "" where nothing stopped it
    value: Array  # (orders, trials) NaN where it was pruned: its value is lost


def evaluate(
    curves: Sequence[Curve],
    chosen: Sequence[Curve],
    names: Sequence[str],
    orders: int = 200,
    seed: int = 0,
    workers: int = 1,
    advance: Callable[[int], None] = lambda orders: None,
) -> dict[str, dict[str, Any]]:
    """Return name -> figures of each pruner in `names` (pruners/replay/baselines.py, and `random`), in the same orders.

    `chosen` are the curves on which a baseline may choose its threshold. `advance` is called with the number of orders of a
    pruner that have just been replayed. Raises BrokenExecutor where a worker process was killed.
    """
    available = contenders(curves, chosen)
    needed = [name for name in available if name in names or (name == "default" and "random" in names)]
    played = play_all(curves, {name: available[name] for name in needed}, orders, seed, workers, advance)
    if "random" in names:
        saved = figures(curves, played["default"], seed)["frames_saved"]
        random = partial(random_kills, share=equal_share(curves, saved))
        played |= play_all(curves, {"random": random}, orders, seed, 1, advance)
    return {name: figures(curves, played[name], seed) for name in names}


def play(curves: Sequence[Curve], contender: Contender, seed: int, orders: Sequence[int]) -> Played:
    """Return the outcomes of the curves in `orders`, numbers of the seed's orders."""
    spent, value = np.zeros((2, len(orders), len(curves)))
    stopped_by = np.full(spent.shape, "", dtype=object)
    for row, number in enumerate(orders):
        order, _ = _drawn(seed, number, len(curves))
        outcomes = contender([curves[i] for i in order])
        spent[row, order] = [outcome.kframes for outcome in outcomes]
        stopped_by[row, order] = [outcome.pruned_by or outcome.ended_by or "" for outcome in outcomes]
        value[row, order] = [np.nan if outcome.value is None else outcome.value for outcome in outcomes]
    return Played(spent, stopped_by, value)


def figures(curves: Sequence[Curve], played: Played, seed: int) -> dict[str, Any]:
    """Return the figures of one pruner: means over the orders, each with its 95 % interval as `<name>_interval`.

    frames_saved: share of the frames of all whole curves; a trial that stops being finite is whole where it does.
    regret: the best value of a healthy trial that was not killed minus the best healthy value of all; if all were, the worst
        healthy value minus the best.
    top_decile_killed, top_quarter_killed: share of the best healthy trials by value that were killed, that is stopped before
        they held a healthy snapshot, or by a pruner that keeps none; the decile and the quarter are rounded up.
    healthy_killed, sick_killed: share of the healthy that were killed, and of the sick that were stopped.
    ended_early, ended_worse: share of the healthy that were stopped and kept a healthy snapshot, and by how much their values
        are worse than those at the end of their budget.
    sick_dead_by_quarter: share of the sick that were stopped before or at a quarter of their budget.
    delay: share of the budget that the sick spent, stopped or not.
    by_rule: rule -> how many trials it stopped, and what share of all frames that saved.

    The intervals are percentiles of a bootstrap that draws as many trials with replacement from each order's outcomes. A figure
    about trials that do not exist, such as sick ones in a healthy archive, is None.
    """
    orders, count = played.spent.shape
    weights = np.stack([_drawn(seed, number, count)[1] for number in range(orders)])
    exact = _measured(curves, played, np.ones_like(weights))
    resampled = _measured(curves, played, weights)
    result: dict[str, Any] = {}
    for name, values in exact.items():
        known, drawn = (found[np.isfinite(found)] for found in (values, resampled[name]))
        result[name] = _rounded(known.mean()) if known.size else None
        result[f"{name}_interval"] = [_rounded(end) for end in np.percentile(drawn, INTERVAL)] if drawn.size else None
    return result | {"by_rule": _by_rule(curves, played)}


def _measured(curves: Sequence[Curve], played: Played, weights: Array) -> dict[str, Array]:
    """Return name -> (orders,) figures where trial i counts weights[order, i] times; NaN where no such trial counts."""
    full = np.array([curve.full_kframes for curve in curves])
    share = played.spent / np.array([curve.budget_kframes for curve in curves])
    value = np.array([np.inf if curve.value is None else curve.value for curve in curves])
    healthy, sick = (np.array([curve.condition == condition for curve in curves]) for condition in ("healthy", "sick"))
    stopped, killed = played.stopped_by != "", np.isnan(played.value)
    ended = stopped & ~killed & healthy
    by_value = np.argsort(np.where(healthy, value, np.inf), kind="stable")
    decile, quarter = (np.isin(np.arange(len(curves)), by_value[: ceil(healthy.sum() / part)]) for part in (10, 4))

    def mean(amounts: NDArray[Any], group: NDArray[np.bool_]) -> Array:
        counts = (weights * group).sum(1)
        sums = (weights * np.where(group, amounts, 0)).sum(1)
        means: Array = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means

    return {
        "frames_saved": 1 - (weights * played.spent).sum(1) / (weights * full).sum(1),
        "regret": _regret(value, played.value, (weights > 0) & healthy),
        "top_decile_killed": mean(killed, decile),
        "top_quarter_killed": mean(killed, quarter),
        "healthy_killed": mean(killed, healthy),
        "ended_early": mean(ended, healthy),
        "ended_worse": mean(played.value - value, ended),
        "sick_killed": mean(stopped, sick),
        "sick_dead_by_quarter": mean(stopped & (share <= QUARTER), sick),
        "delay": mean(share, sick),
    }


def _regret(value: Array, got: Array, healthy: NDArray[np.bool_]) -> Array:
    """Return (orders,) how far the best value that the `healthy` (orders, trials) got is from their best at the end."""
    best = np.where(healthy, value, np.inf).min(1)
    worst = np.where(healthy, value, -np.inf).max(1)
    survivor = np.where(healthy & ~np.isnan(got), got, np.inf).min(1)
    found = np.where(np.isfinite(survivor), survivor, worst)
    regret: Array = np.subtract(found, best, out=np.full(len(best), np.nan), where=np.isfinite(best))
    return regret


def _by_rule(curves: Sequence[Curve], played: Played) -> dict[str, dict[str, float]]:
    full = np.array([curve.full_kframes for curve in curves])
    orders = len(played.spent)
    result = {}
    for rule in sorted({*played.stopped_by.ravel().tolist()} - {""}):
        by = played.stopped_by == rule
        saved = ((full - played.spent) * by).sum() / (full.sum() * orders)
        result[rule] = {"stopped": _rounded(by.sum() / orders), "frames_saved": _rounded(saved)}
    return result


def _drawn(seed: int, number: int, count: int) -> tuple[NDArray[np.int64], Array]:
    """Return order `number` of so many trials, and how often a bootstrap draws each trial for it."""
    random = np.random.default_rng([seed, number])
    order = random.permutation(count)
    return order, np.bincount(random.integers(0, count, count), minlength=count).astype(float)


def _rounded(value: Any) -> float:
    return round(float(value), 6) + 0.0  # no -0.0


def play_all(
    curves: Sequence[Curve],
    pruners: Mapping[str, Contender],
    orders: int,
    seed: int,
    workers: int,
    advance: Callable[[int], None],
) -> dict[str, Played]:
    """Return name -> outcomes of every pruner in every order, computed by `workers` processes; with 1 by this one."""
    chunks = [range(first, min(first + ORDERS_AT_ONCE, orders)) for first in range(0, orders, ORDERS_AT_ONCE)]
    tasks = [(name, chunk) for chunk in chunks for name in pruners]
    parts: dict[tuple[str, range], Played] = {}
    if workers == 1:
        for name, chunk in tasks:
            parts[name, chunk] = play(curves, pruners[name], seed, chunk)
            advance(len(chunk))
    else:
        with _processes(curves, workers) as pool:
            with _delayed_interrupt():
                futures = {pool.submit(_task, pruners[name], seed, chunk): (name, chunk) for name, chunk in tasks}
            for future in as_completed(futures):
                parts[futures[future]] = future.result()
                advance(len(futures[future][1]))
    return {name: _joined([parts[name, chunk] for chunk in chunks]) for name in pruners}


def _joined(parts: Sequence[Played]) -> Played:
    fields = ("spent", "stopped_by", "value")
    return Played(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


_curves: list[Curve] = []  # in a worker process, which receives them once


def _receive(curves: list[Curve]) -> None:
    _curves[:] = curves


def _task(contender: Contender, seed: int, orders: Sequence[int]) -> Played:
    return play(_curves, contender, seed, orders)


@contextmanager
def _processes(curves: Sequence[Curve], workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start fresh processes, since forked ones inherit threads; when the block raises, tasks that wait are dropped."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_receive, initargs=(list(curves),))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _delayed_interrupt() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block; a process started in it ignores Ctrl-C, because its parent ends it."""
    received: list[int] = []
    resource_tracker.ensure_running()  # it would unblock the signal where it is started
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    _mask("SIG_BLOCK")  # a new process inherits the mask, but not a handler
    try:
        yield
    finally:
        _mask("SIG_UNBLOCK")
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


def _mask(how: str) -> None:
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(getattr(signal, how), {signal.SIGINT})
