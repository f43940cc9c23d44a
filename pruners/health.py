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
from optuna.trial import FrozenTrial

from pruners.explained import ExplainedPruner
from pruners.levels import Floor, GradNorm, Levels
from pruners.rules import Below, Decision, Explosion, Rule, judge, rules


class HealthPruner(ExplainedPruner):
    """Stops a trial at the first rule that says so; else asks `peers`: a PeerPruner, or any of Optuna's."""

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
        if isinstance(self.peers, ExplainedPruner):
            return self.peers.decide(study, trial)
        if self.peers is not None and trial.last_step is not None and self.peers.prune(study, trial):
            value = f"value {trial.intermediate_values[trial.last_step]:.4g} at step {trial.last_step}"
            return Decision(True, "peers", 0.0, f"{type(self.peers).__name__} stopped it with {value}")
        return None


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
