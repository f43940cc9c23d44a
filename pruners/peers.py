"""A peer rule over frames: asynchronous successive halving (Li et al. 2020, ASHA) among the healthy.

Loss alone crowns broken voices: a network that never aligned may well have the lowest loss of all. So trials that a health
rule stopped, or that ended with a broken constraint, are nobody's peers.
"""
from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial

from pruners.explained import ExplainedPruner
from pruners.rules import Decision


class PeerPruner(ExplainedPruner):
    """At every rung (`min_share` of the budget, then `eta` times as much, ...) the best of each `eta` healthy trials go on.

    The resource is the Optuna step, thousands of valid mel frames, and smaller values are better. A trial stands at a rung with
    its value at its first step there. With fewer than `least` others to compare with, everybody goes on. It looks at the other
    trials at the rungs only, and writes nothing but its decision.
    """

    def __init__(self, budget_kframes: float, eta: int = 2, min_share: float = 0.3, least: int = 3) -> None:
        self.budget, self.eta, self.min_share, self.least = budget_kframes, eta, min_share, least

    def rungs(self) -> Iterator[float]:
        rung = self.min_share * self.budget
        while rung < self.budget:
            yield rung
            rung *= self.eta

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        steps = sorted(trial.intermediate_values)
        crossed = [rung for rung in self.rungs() if steps and first_at(steps, rung) == steps[-1]]
        for rung in crossed:
            others = [
                other.intermediate_values[step]
                for other in study.get_trials(deepcopy=False)
                if other.number != trial.number
                and healthy(other)
                and (step := first_at(sorted(other.intermediate_values), rung)) is not None
            ]
            if len(others) < self.least:
                continue
            value = trial.intermediate_values[steps[-1]]
            stay = max(1, (len(others) + 1) // self.eta)
            place = 1 + sum(other < value for other in others)
            if place > stay or value != value:
                bar = sorted(others)[stay - 1]
                sentence = self._sentence(value, steps[-1], place, len(others) + 1, stay, bar)
                return Decision(True, "peers", value / bar - 1, sentence)
        return None

    def _sentence(self, value: float, step: int, place: int, count: int, stay: int, bar: float) -> str:
        return (
            f"behind its peers: validation loss {value:.3f} at {step} kframes is number {place} of the {count} healthy "
            f"trials at this rung, {stay} go on, the last of them with {bar:.3f}"
        )


def first_at(steps: list[int], rung: float) -> int | None:
    """The first of the sorted steps that is not before `rung`."""
    return next((step for step in steps if step >= rung), None)


def healthy(trial: FrozenTrial) -> bool:
    """Not known to be sick: no health rule stopped it, and no constraint is broken."""
    if trial.user_attrs.get("pruned_by", "peers") != "peers" or trial.state == optuna.trial.TrialState.FAIL:
        return False
    return all(amount <= 0 for name, amount in trial.constraints.items() if name != "health/peers")
