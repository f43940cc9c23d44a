"""A pruner that gives a reason: Optuna's interface answers yes or no, so the reason is stored among the trial's attributes."""

from abc import abstractmethod

import optuna
from optuna.trial import FrozenTrial

from pruners.decision import Decision
from storage.optuna_private import set_attribute
from storage.outcome import HEALTHY_AT


class ExplainedPruner(optuna.pruners.BasePruner):
    """A pruner whose subclass implements `decide`.

    `prune` stores the decision as `pruned_by`, `pruned_reason`, `pruned_severity` and `pruned_step`; of a trial that holds a
    healthy snapshot, by its attribute HEALTHY_AT, as `ended_by` and so on, because such a trial is to end as complete.
    """

    @abstractmethod
    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """Return the decision to stop `trial` now, or None."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        decision = self.decide(study, trial)
        if decision is None:
            return False
        end = "ended" if HEALTHY_AT in trial.user_attrs else "pruned"
        # Optuna's own successive halving stores its rungs in the same way.
        for name, value in (
            ("by", decision.rule),
            ("reason", decision.evidence),
            ("severity", decision.severity),
            ("step", trial.last_step),
        ):
            set_attribute(study, trial, f"{end}_{name}", value)
        return True
