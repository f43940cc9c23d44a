"""How a trial stands among the healthy trials of its study: behind the best of them, or among the best.

Loss alone crowns broken voices: a network that never aligned may well have the lowest loss of all. So trials that a health
rule stopped, or that ended with a broken constraint, are nobody's peers. The resource is the Optuna step, thousands of valid
mel frames, and smaller values are better.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.rules import Decision
from pruners.thresholds import Pruner
from storage.outcome import best_of, not_known_sick

SHIPPED = Pruner()


class PeerPruner(ExplainedPruner):
    """Stops a trial that stands too far behind the best healthy trial at equal frames to catch up with it.

    A loss falls by ratios, and a slow start is not a bad end: at a share s of the budget a trial may have
    1 + slack + margin (1 - s) times the loss that the best healthy complete trial had there. Nothing is compared before
    `min_share` of the budget, nor with fewer than `least` healthy complete trials. It writes nothing but its decision.
    """

    def __init__(
        self,
        budget_kframes: float,
        margin: float = SHIPPED.margin,
        slack: float = SHIPPED.slack,
        min_share: float = SHIPPED.min_share,
        least: int = SHIPPED.least,
    ) -> None:
        self.budget, self.margin, self.slack, self.min_share, self.least = budget_kframes, margin, slack, min_share, least

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        step = trial.last_step
        if step is None or step < self.min_share * self.budget:
            return None
        known = [other for other in healthy_peers(study, trial) if other.state == TrialState.COMPLETE]
        best = best_of(known)
        if best is None or len(known) < self.least:
            return None
        there = value_at(best, step)
        allowed = 1 + self.slack + self.margin * (1 - step / self.budget)
        value = trial.intermediate_values[step]
        if there is None or there <= 0 or value <= allowed * there:
            return None
        return Decision(
            stop=True,
            rule="peers",
            severity=value / there / allowed - 1,
            evidence=(
                f"behind its peers: validation loss {value:.3f} at {step} kframes is {value / there:.2f} times the {there:.3f} "
                f"that trial {best.number}, the best healthy one, had there, at most {allowed:.2f} times may catch up"
            ),
        )


def healthy_peers(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The other trials that are not known to be sick: no health rule stopped them, and no constraint is broken."""
    return [other for other in study.get_trials(deepcopy=False) if other.number != trial.number and not_known_sick(other)]


def value_at(trial: FrozenTrial, step: int) -> float | None:
    """A trial's value at its first step that is not before `step`; None where it did not come so far."""
    at = min((known for known in trial.intermediate_values if known >= step), default=None)
    return None if at is None else trial.intermediate_values[at]


def among_the_best(trial: FrozenTrial, others: Sequence[FrozenTrial], share: float, least: int = 3) -> bool:
    """Whether a trial's last value is among the best `share` at equal frames; False with fewer than `least` to compare with."""
    step = trial.last_step
    if step is None:
        return False
    values = [value for other in others if (value := value_at(other, step)) is not None]
    place = 1 + sum(value < trial.intermediate_values[step] for value in values)
    return len(values) >= least and place <= share * (len(values) + 1)
