"""A pruner that says why: Optuna's interface answers yes or no, so the reason is kept among the trial's attributes."""

from abc import abstractmethod

import optuna
from optuna.trial import FrozenTrial

from pruners.rules import Decision
from storage.optuna_private import set_attribute


class ExplainedPruner(optuna.pruners.BasePruner):
    """Write `decide`; `prune` stores its decision as `pruned_by`, `pruned_reason`, `pruned_severity` and `pruned_step`."""

    @abstractmethod
    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """The decision to stop `trial` now, or None."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        decision = self.decide(study, trial)
        if decision is None:
            return False
        # Optuna's own successive halving stores what it finds in the same way.
        for name, value in (
            ("pruned_by", decision.rule),
            ("pruned_reason", decision.evidence),
            ("pruned_severity", decision.severity),
            ("pruned_step", trial.last_step),
        ):
            set_attribute(study, trial, name, value)
        return True
