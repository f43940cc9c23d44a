"""A pruner that gives a reason: Optuna's interface answers yes or no, so the reason is stored among the trial's attributes."""

from abc import abstractmethod

import optuna
from optuna.trial import FrozenTrial

from pruners.decision import Decision
from storage.optuna_private import set_attribute


class ExplainedPruner(optuna.pruners.BasePruner):
    """A pruner whose subclass implements `decide`.

    `prune` stores the decision as `pruned_by`, `pruned_reason`, `pruned_severity` and `pruned_step`.
    """

    @abstractmethod
    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """Return the decision to stop `trial` now, or None."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        decision = self.decide(study, trial)
        if decision is None:
            return False
        # Optuna's own successive halving stores its rungs in the same way.
        for name, value in (
            ("pruned_by", decision.rule),
            ("pruned_reason", decision.evidence),
            ("pruned_severity", decision.severity),
            ("pruned_step", trial.last_step),
        ):
            set_attribute(study, trial, name, value)
        return True
