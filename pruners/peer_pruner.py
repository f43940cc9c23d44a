"""Compare a trial with the healthy trials of its study, its peers: is it far behind the best of them, or among the best?

Loss alone ranks broken voices first: a network that never aligned may have the lowest loss of all. So trials that a health rule
stopped, or that missed a target, are not counted as peers. The resource is the Optuna step, in thousands of valid mel frames;
smaller values are better.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from pruners.base import ExplainedPruner
from pruners.decision import Decision
from pruners.thresholds import PrunerSettings
from storage.outcome import best_of, not_known_sick

DEFAULTS = PrunerSettings()
RESOLUTION = {"speech": 0.1}  # score -> value below which a ratio says little: a tenth of the letters


class PeerPruner(ExplainedPruner):
    """Stop a trial that is too far behind the best healthy trial, at equal frames, to catch up with it.

    A value falls by ratios, and a slow start is not a bad end: at a share s of the budget a trial may have
    1 + slack + margin (1 - s) times the value that the best healthy complete trial had there, or RESOLUTION, whichever is
    more: what is hardly better than nearly perfect is no reason to stop. Nothing is compared before `min_share` of the budget,
    nor with fewer than `least` healthy complete trials. `score` is the setting objective.score: which value the trials report,
    at every report or at a few. It stores nothing but its decision.
    """

    def __init__(
        self,
        budget_kframes: float,
        margin: float = DEFAULTS.margin,
        slack: float = DEFAULTS.slack,
        min_share: float = DEFAULTS.min_share,
        least: int = DEFAULTS.least,
        score: str = "speech",
    ) -> None:
        self.resolution, self.name = RESOLUTION.get(score, 0.0), "validation loss" if score == "loss" else "value"
        self.budget, self.margin, self.slack, self.min_share, self.least = budget_kframes, margin, slack, min_share, least

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        step = trial.last_step
        if step is None or step < self.min_share * self.budget:
            return None
        complete = [other for other in healthy_peers(study, trial) if other.state == TrialState.COMPLETE]
        best = best_of(complete)
        if best is None or len(complete) < self.least:
            return None
        best_value = value_at(best, step)
        if best_value is None:
            return None
        allowed = 1 + self.slack + self.margin * (1 - step / self.budget)
        value, bar = trial.intermediate_values[step], max(best_value, self.resolution)
        if bar <= 0 or value <= allowed * bar:
            return None
        return Decision(
            stop=True,
            rule="peers",
            severity=value / bar / allowed - 1,
            evidence=(
                f"behind its peers: {self.name} {value:.3f} at {step} kframes; trial {best.number}, the best healthy one, had "
                f"{best_value:.3f} there, and more than {allowed:.2f} times {bar:.3f} cannot catch up"
            ),
        )


def healthy_peers(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the other trials that are not known to be sick: no health rule stopped them, and they miss no target."""
    return [other for other in study.get_trials(deepcopy=False) if other.number != trial.number and not_known_sick(other)]


def value_at(trial: FrozenTrial, step: int) -> float | None:
    """Return a trial's value at its first step that is not before `step`; None where it did not get that far."""
    at = min((other for other in trial.intermediate_values if other >= step), default=None)
    return None if at is None else trial.intermediate_values[at]


def among_the_best(trial: FrozenTrial, others: Sequence[FrozenTrial], share: float, least: int = 3) -> bool:
    """Return whether a trial's last value is among the best `share` at equal frames; False with fewer than `least` others."""
    step = trial.last_step
    if step is None:
        return False
    values = [value for other in others if (value := value_at(other, step)) is not None]
    place = 1 + sum(value < trial.intermediate_values[step] for value in values)
    return len(values) >= least and place <= share * (len(values) + 1)
