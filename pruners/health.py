"""Optuna pruners that read a trial's `health` record: the rules behind Optuna's interface, and a peer rule behind the rules.

They keep no state, so they work in any process. A study of one's own needs only

    trial.set_user_attr("health", record)      # pruners/record.py: empty(), point(), extended()
    trial.report(record["val_loss"][-1], step)
    if trial.should_prune(): raise optuna.TrialPruned

and finds `pruned_by`, `pruned_reason` and `pruned_step` among the trial's attributes afterwards. A health decision costs no SQL
until it stops a trial.
"""
from collections.abc import Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from pruners.levels import Floor, GradNorm, Levels
from pruners.rules import Below, Decision, Explosion, Rule, judge, rules


class HealthPruner(optuna.pruners.BasePruner):
    """Stops a trial at the first rule that says so; else asks `peers`, any of Optuna's pruners."""

    def __init__(self, judges: Sequence[Rule] | None = None, peers: optuna.pruners.BasePruner | None = None) -> None:
        self.judges = tuple(rules(Levels()) if judges is None else judges)
        self.peers = peers

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """The decision to stop, or None. Reads the trial's attributes only, and what the peer rule reads."""
        record = trial.user_attrs.get("health")
        if record is not None:
            stops = [found for found in judge(record, self.judges) if found.stop]
            if stops:
                return stops[0]
        if self.peers is not None and trial.last_step is not None and self.peers.prune(study, trial):
            return Decision(True, "peers", 0.0, behind(study, trial))
        return None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        decision = self.decide(study, trial)
        if decision is None:
            return False
        # Optuna's interface has no room for a reason; its own successive halving stores what it finds in the same way.
        for name, value in (
            ("pruned_by", decision.rule),
            ("pruned_reason", decision.evidence),
            ("pruned_severity", decision.severity),
            ("pruned_step", trial.last_step),
        ):
            study._storage.set_trial_user_attr(trial._trial_id, name, value)
        return True


class GradientNormPruner(HealthPruner):
    """Stops at a gradient norm (95th percentile of a window, unscaled, unclipped) above `critical` for `patience` windows, or
    above `relative` times the trial's own median."""

    def __init__(self, critical: float = 100.0, relative: float = 10.0, patience: int = 3) -> None:
        super().__init__([Explosion(GradNorm(min(10.0, critical), critical, relative, patience))])


class DiagonalityPruner(HealthPruner):
    """Stops at a diagonality below `critical` for `patience` validations, after a share of the frame budget."""

    def __init__(self, critical: float = 0.4, patience: int = 3, warmup_share: float = 0.3) -> None:
        super().__init__([Below("diagonality", Floor(max(0.7, critical), critical, patience), warmup_share)])


class GateAccuracyPruner(HealthPruner):
    """Stops at a balanced gate accuracy below `critical` for `patience` validations, after a share of the frame budget.

    Gates come late: a network that never stops scores 0.5, and so does a good one in its youth."""

    def __init__(self, critical: float = 0.6, patience: int = 3, warmup_share: float = 0.6) -> None:
        super().__init__([Below("gate_accuracy", Floor(max(0.8, critical), critical, patience), warmup_share)])


def behind(study: optuna.Study, trial: FrozenTrial) -> str:
    """The sentence of a peer rule: where the trial stands among those that reached this step."""
    step = trial.last_step
    assert step is not None
    value = trial.intermediate_values[step]
    others = [
        other.intermediate_values[step]
        for other in study.get_trials(deepcopy=False)
        if other.number != trial.number and step in other.intermediate_values
    ]
    worst_last = study.direction == StudyDirection.MINIMIZE
    better = sum(other < value if worst_last else other > value for other in others)
    best = (min if worst_last else max)(others, default=value)
    return (
        f"behind its peers: loss {value:.3f} at {step} kframes is number {better + 1} of the {len(others) + 1} "
        f"that came so far, the best had {best:.3f}"
    )
