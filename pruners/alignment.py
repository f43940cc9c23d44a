"""Alignment in a study as a whole: how slow a start is usual here, and the sentence where no trial has aligned."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from pruners.health_record import Record
from pruners.rules import SHIPPED_RULES, measured

ALIGNED = 0.7  # diagonality from which a trial has an alignment: chance gives 0.19, and healthy is 0.8
SLOW = ("unaligned", "mumbles", "never_stops", "too_slow")  # causes that a slow start looks like
BROKEN = ("nonfinite", "grad_norm")  # rules about numbers that no slow start explains
UNPROVEN, UNSEEN = 0.25, 0.5  # shares of the frame budget: see `grace`
RISE = 0.05  # of the diagonality in the second half of a trial, more than it wavers


def aligned_at(trial: FrozenTrial) -> float | None:
    """Return the share of its budget at which a trial, running or ended, first had an alignment; None where it never had."""
    record = trial.user_attrs.get("health")
    if record is None:
        return None
    when = (kframes for kframes, value in measured(record, "diagonality") if value >= ALIGNED)
    first = next(when, None)
    return None if first is None else first / record["budget_kframes"]


def is_slow(rule: str) -> bool:
    """Return whether a slow start may look like what a rule finds."""
    return rule in SHIPPED_RULES and SHIPPED_RULES[rule].cause in SLOW


def grace(rule: str, trials: Sequence[FrozenTrial]) -> float:
    """Return the share of the budget before which a rule stops no trial, while no trial of the study has ended healthy.

    It is UNPROVEN. Where a slow start looks like what the rule finds, it is twice the time that the quickest of `trials` took
    to align, but at most UNSEEN, also where none has aligned: a hopeless study still saves the rest of each budget.
    """
    if rule in BROKEN:
        return 0.0
    quickest = min((share for trial in trials if (share := aligned_at(trial)) is not None), default=1.0)
    return min(UNSEEN, max(UNPROVEN, 2 * quickest)) if is_slow(rule) else UNPROVEN


def nobody_aligned(trials: Sequence[FrozenTrial], least: int) -> str | None:
    """Return a sentence on what to change, where `least` trials had the time to align, and no trial, running or ended, did.

    A trial had the time if it used its budget, or if a rule stopped it as too slow. 0 of `least`: never.
    """
    had_time = [trial for trial in trials if _had_time(trial)]
    if not least or len(had_time) < least or any(aligned_at(trial) is not None for trial in trials):
        return None
    found = [(value, when, trial) for trial in had_time for when, value in measured(trial.user_attrs["health"], "diagonality")]
    value, when, closest = max(found, key=lambda one: one[:2], default=(0.0, 0.0, had_time[0]))
    record = closest.user_attrs["health"]
    budget = f"budget.kframes, now {record['budget_kframes']:,.0f}"
    knobs = "loss.guided_weight, network.drop_frame_rate or network.reduction"
    first, then = (f"{budget} (it was still rising)", knobs) if _rising(record) else (knobs, budget)
    return (
        f"none of {len(had_time)} trials has aligned: the closest, trial {closest.number}, had a diagonality of {value:.2f} at "
        f"{when / record['budget_kframes']:.0%} of its budget, an alignment has {ALIGNED:.2f}: raise {first}; "
        f"if that does not help, {then}; or add recordings"
    )


def _rising(record: Record) -> bool:
    """Return True if the diagonality ended at its highest, and clearly above what it was halfway."""
    values = [value for _, value in measured(record, "diagonality")]
    return bool(values) and values[-1] == max(values) and values[-1] - values[len(values) // 2] > RISE


def _had_time(trial: FrozenTrial) -> bool:
    stopped_by = trial.user_attrs.get("pruned_by")
    if trial.state.name not in ("COMPLETE", "PRUNED") or not trial.user_attrs.get("health", {}).get("kframes"):
        return False
    return is_slow(stopped_by) if stopped_by is not None else trial.state.name == "COMPLETE"
