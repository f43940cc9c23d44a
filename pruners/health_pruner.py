"""Optuna pruners that read a trial's `health` record: the rules behind Optuna's interface, and a peer rule behind the rules.

They keep nothing that a study would miss, so they work in any process. A study of one's own needs only

    trial.set_user_attr("health", record)      # pruners/health_record.py: empty(), point(), extended()
    trial.report(record["val_loss"][-1], step)
    if trial.should_prune(): raise optuna.TrialPruned

and finds `pruned_by`, `pruned_reason` and `pruned_step` among the trial's attributes afterwards. A judgement costs no SQL; the
other trials are read once a rule wants to stop, to see whether it may.
"""

import logging
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial

from pruners.base import ExplainedPruner
from pruners.combinators import Patient, low, rules
from pruners.health_record import Record, empty, part
from pruners.peer_pruner import among_the_best, healthy_peers
from pruners.rules import Decision, Explosion, Rule, judge
from pruners.thresholds import Floor, GradNorm, Levels, Pruner
from storage.outcome import best_of

LOG = logging.getLogger(__name__)
LEVELS = Levels()
UNPROVEN = 0.25  # of the frame budget
BROKEN = ("nonfinite", "grad_norm")  # rules about numbers that no slow start explains


class HealthPruner(ExplainedPruner):
    """Stops a trial at the first rule that says so; else asks `peers`: a PeerPruner, or any of Optuna's.

    Three things keep it from being wrong about a corpus that it does not know. Until a trial of the study has ended well, no
    slow start is a reason to stop before UNPROVEN of the budget. A rule that would have stopped the study's present best is
    disarmed, and `tell` hears of it, once for each best trial. And a trial is left alone whose value is among the best
    `protected` share of its healthy peers at equal frames, if one of them was as sick by the same rule there.
    Smaller values are better: a study must minimise.
    """

    def __init__(
        self,
        judges: Sequence[Rule] | None = None,
        peers: optuna.pruners.BasePruner | None = None,
        protected: float = Pruner().protected,
        tell: Callable[[str], None] = LOG.warning,
    ) -> None:
        self.judges = tuple(rules(LEVELS) if judges is None else judges)
        self.peers, self.protected, self.tell = peers, protected, tell
        self._told: set[tuple[str, int]] = set()

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """The decision to stop, or None. Reads the trial's attributes only, and the other trials where a rule wants to stop."""
        record: Record = trial.user_attrs.get("health") or empty(0.0)
        stops = [found for found in judge(record, self.judges) if found.stop]
        if stops and stops[0].rule == "nonfinite":  # there is nothing left to protect
            return stops[0]
        if stops and (held := self._held(study, trial, record, stops)) is not None:
            return held
        if isinstance(self.peers, ExplainedPruner):
            return self.peers.decide(study, trial)
        if self.peers is not None and trial.last_step is not None and self.peers.prune(study, trial):
            value = f"value {trial.intermediate_values[trial.last_step]:.4g} at step {trial.last_step}"
            return Decision(True, "peers", 0.0, f"{type(self.peers).__name__} stopped it with {value}")
        return None

    def _held(self, study: optuna.Study, trial: FrozenTrial, record: Record, stops: list[Decision]) -> Decision | None:
        """The first of the stops that holds against what the study has seen."""
        others = healthy_peers(study, trial)
        best = best_of(others)
        young = record["kframes"][-1] < UNPROVEN * record["budget_kframes"]
        good = among_the_best(trial, others, self.protected)
        for found in stops:
            if best is None and young and found.rule not in BROKEN:
                continue
            rule = next(rule for rule in self.judges if rule.name == found.rule)
            if best is not None and self._disarmed(rule, best):
                continue
            if good and any(_critical_at(rule, other, record["kframes"][-1]) for other in others):
                continue
            return found
        return None

    def _disarmed(self, rule: Rule, best: FrozenTrial) -> bool:
        """Whether a rule would have stopped the best trial so far."""
        found = first_stop(rule, best.user_attrs["health"]) if "health" in best.user_attrs else None
        if found is not None and (rule.name, best.number) not in self._told:
            self._told.add((rule.name, best.number))
            self.tell(f"rule {rule.name} is disarmed, it would have stopped trial {best.number}, the best: {found.evidence}")
        return found is not None


def _critical_at(rule: Rule, trial: FrozenTrial, kframes: float) -> bool:
    """Whether a rule found a trial critical when it had seen as many frames."""
    record = trial.user_attrs.get("health")
    if record is None or not record["kframes"] or record["kframes"][-1] < kframes:
        return False
    found = rule(part(record, 0, sum(known <= kframes for known in record["kframes"])))
    return found is not None and found.critical


def first_stop(rule: Rule, record: Record) -> Decision | None:
    """The first stop that a rule would have said while a record grew."""
    for end in range(1, len(record["kframes"]) + 1):
        found = rule(part(record, 0, end))
        if found is not None and found.stop:
            return found
    return None


class GradientNormPruner(HealthPruner):
    """Stops at a gradient norm (95th percentile of a window, unscaled, unclipped) above `critical`, or above `relative` times
    the trial's own median, for a share of the frame budget."""

    def __init__(
        self,
        critical: float = LEVELS.grad_norm.critical,
        relative: float = LEVELS.grad_norm.relative,
        patience_share: float = LEVELS.grad_norm.patience_share,
    ) -> None:
        level = GradNorm(min(LEVELS.grad_norm.warn, critical), critical, relative, patience_share)
        super().__init__([Patient(Explosion(level), patience_share)])


class DiagonalityPruner(HealthPruner):
    """Stops at a diagonality below `critical` for a share of the frame budget, after another."""

    def __init__(
        self,
        critical: float = LEVELS.diagonality.critical,
        patience_share: float = LEVELS.diagonality.patience_share,
        warmup_share: float = LEVELS.diagonality.warmup_share,
    ) -> None:
        level = Floor(max(LEVELS.diagonality.warn, critical), critical, warmup_share, patience_share)
        super().__init__([low("diagonality", level)])


class GateAccuracyPruner(HealthPruner):
    """Stops at a balanced gate accuracy below `critical` for a share of the frame budget, after another.

    Gates come late: a network that never stops scores 0.5, and so does a good one in its youth."""

    def __init__(
        self,
        critical: float = LEVELS.gate_accuracy.critical,
        patience_share: float = LEVELS.gate_accuracy.patience_share,
        warmup_share: float = LEVELS.gate_accuracy.warmup_share,
    ) -> None:
        level = Floor(max(LEVELS.gate_accuracy.warn, critical), critical, warmup_share, patience_share)
        super().__init__([low("gate_accuracy", level)])
