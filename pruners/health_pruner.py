"""Optuna pruners that read a trial's `health` record: the health rules behind Optuna's interface, then a comparison with peers.

They keep no state that a study depends on, so they work in any process. A study of your own needs only

    trial.set_user_attr("health", record)      # pruners/health_record.py: empty(), measurements(), extended()
    trial.report(record["val_loss"][-1], step)
    if trial.should_prune(): raise optuna.TrialPruned

and finds `pruned_by`, `pruned_reason` and `pruned_step` among the trial's attributes afterwards. A decision costs no SQL; the
other trials are read only when a rule requests a stop, to check that it is allowed.
"""

import logging
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial

from pruners.alignment import grace
from pruners.base import ExplainedPruner
from pruners.combinators import delayed
from pruners.decision import Decision, Rule, judge
from pruners.health_record import Record, checked, empty, excerpt
from pruners.peer_pruner import among_the_best, healthy_peers
from pruners.rules import Below, Explosion, shipped_rules
from pruners.thresholds import Floor, GradNorm, PrunerSettings, Thresholds
from storage.outcome import best_of

LOG = logging.getLogger(__name__)
DEFAULTS = Thresholds()
NO_RECORD = (
    "no rule can stop a trial without its attribute `health`: store a health record before should_prune "
    "(pruners/health_record.py, docs/api.md)"
)


class HealthPruner(ExplainedPruner):
    """Stop a trial at the first rule that requests it; else leave it to `peers`: a PeerPruner, or any of Optuna's.

    Three safeguards keep it from being wrong about an unknown corpus. Until a trial of the study has ended healthy, a rule
    waits as long as a slow start may take here (`grace`). A rule that would have stopped the study's best trial so far is
    disarmed, and `warn` is called with a sentence, once for each best trial. A trial whose value is among the best `protected`
    share of its healthy peers at equal frames continues if the same rule found one of them critical there.
    Smaller values are better: the study must minimise.
    """

    def __init__(
        self,
        rules: Sequence[Rule] | None = None,
        peers: optuna.pruners.BasePruner | None = None,
        protected: float = PrunerSettings().protected,
        warn: Callable[[str], None] = LOG.warning,
    ) -> None:
        self.rules = tuple(shipped_rules(DEFAULTS) if rules is None else rules)
        self.peers, self.protected, self.warn = peers, protected, warn
        self._warned: set[tuple[str, int]] = set()  # rule, number of the best trial

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """Return the decision to stop, or None. Reads the other trials only where a rule requests a stop.

        Raises ValueError for an attribute `health` that is no health record.
        """
        if "health" not in trial.user_attrs:
            self._warn_once(("no record", -1), NO_RECORD)
        record: Record = checked(trial.user_attrs.get("health", empty(0.0)))
        stops = [found for found in judge(record, self.rules) if found.stop]
        if stops and stops[0].rule == "nonfinite":  # there is nothing left to protect
            return stops[0]
        if stops and (allowed := self._allowed(study, trial, record, stops)) is not None:
            return allowed
        if isinstance(self.peers, ExplainedPruner):
            return self.peers.decide(study, trial)
        if self.peers is not None and trial.last_step is not None and self.peers.prune(study, trial):
            value = f"value {trial.intermediate_values[trial.last_step]:.4g} at step {trial.last_step}"
            return Decision(True, "peers", 0.0, f"{type(self.peers).__name__} stopped it with {value}")
        return None

    def _allowed(self, study: optuna.Study, trial: FrozenTrial, record: Record, stops: list[Decision]) -> Decision | None:
        """Return the first of the stops that the safeguards allow."""
        others = healthy_peers(study, trial)
        best = best_of(others)
        trials = study.get_trials(deepcopy=False) if best is None else ()
        good = among_the_best(trial, others, self.protected)
        for found in stops:
            if best is None and record["kframes"][-1] < grace(found.rule, trials) * record["budget_kframes"]:
                continue
            rule = next(rule for rule in self.rules if rule.name == found.rule)
            if best is not None and self._disarmed(rule, best):
                continue
            if good and any(_was_critical(rule, other, record["kframes"][-1]) for other in others):
                continue
            return found
        return None

    def _disarmed(self, rule: Rule, best: FrozenTrial) -> bool:
        """Return whether a rule would have stopped the best trial so far."""
        found = first_stop(rule, best.user_attrs["health"]) if "health" in best.user_attrs else None
        if found is not None:
            sentence = f"rule {rule.name} is disarmed, it would have stopped trial {best.number}, the best: {found.evidence}"
            self._warn_once((rule.name, best.number), sentence)
        return found is not None

    def _warn_once(self, about: tuple[str, int], sentence: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            self.warn(sentence)


def _was_critical(rule: Rule, trial: FrozenTrial, kframes: float) -> bool:
    """Return whether a rule found a trial critical after so many frames."""
    record = trial.user_attrs.get("health")
    if record is None or not record["kframes"] or record["kframes"][-1] < kframes:
        return False
    found = rule(excerpt(record, 0, sum(other <= kframes for other in record["kframes"])))
    return found is not None and found.critical


def first_stop(rule: Rule, record: Record) -> Decision | None:
    """Return the first stop that a rule requests while a record grows; None where it requests none."""
    for end in range(1, len(record["kframes"]) + 1):
        found = rule(excerpt(record, 0, end))
        if found is not None and found.stop:
            return found
    return None


class GradientNormPruner(HealthPruner):
    """Stop a trial whose gradient norm is too high for `patience_share` of the frame budget.

    The norm is the 95th percentile of a window, unscaled and unclipped. Too high is above `critical`, or above `relative` times
    the trial's own median.
    """

    def __init__(
        self,
        critical: float = DEFAULTS.grad_norm.critical,
        relative: float = DEFAULTS.grad_norm.relative,
        patience_share: float = DEFAULTS.grad_norm.patience_share,
    ) -> None:
        limits = GradNorm(min(DEFAULTS.grad_norm.warn, critical), critical, relative, patience_share)
        super().__init__([delayed(Explosion(limits), limits)])


class DiagonalityPruner(HealthPruner):
    """Stop a trial whose diagonality is below `critical` for `patience_share` of the frame budget, after `warmup_share`."""

    def __init__(
        self,
        critical: float = DEFAULTS.diagonality.critical,
        patience_share: float = DEFAULTS.diagonality.patience_share,
        warmup_share: float = DEFAULTS.diagonality.warmup_share,
    ) -> None:
        limits = Floor(max(DEFAULTS.diagonality.warn, critical), critical, warmup_share, patience_share)
        super().__init__([delayed(Below("diagonality", limits), limits)])


class GateAccuracyPruner(HealthPruner):
    """Stop a trial whose gate accuracy is below `critical` for `patience_share` of the frame budget, after `warmup_share`.

    It is the balanced accuracy of the stop token (gate), which is learnt late: a network that never stops scores 0.5, and so
    does a good one at first.
    """

    def __init__(
        self,
        critical: float = DEFAULTS.gate_accuracy.critical,
        patience_share: float = DEFAULTS.gate_accuracy.patience_share,
        warmup_share: float = DEFAULTS.gate_accuracy.warmup_share,
    ) -> None:
        limits = Floor(max(DEFAULTS.gate_accuracy.warn, critical), critical, warmup_share, patience_share)
        super().__init__([delayed(Below("gate_accuracy", limits), limits)])
