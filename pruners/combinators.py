"""How rules wait and combine: after a warm-up, patiently, any of several, all of several. And the shipped set of rules.

A combination is a rule itself, so `After(Patient(Below("diagonality", level), 0.08), 0.3)` reads from the inside: low, for 8 %
of the budget, once 30 % are over.
"""

from dataclasses import dataclass, replace

from pruners.health_record import Record, part
from pruners.rules import Below, Decision, Divergence, Explosion, NotFinite, Overfit, Relapse, Rule, Stagnant, gravity
from pruners.thresholds import Ceiling, Floor, Levels, NoAlignment


@dataclass(frozen=True, slots=True)
class _Waiting:
    rule: Rule
    share: float  # of the frame budget

    @property
    def name(self) -> str:
        return self.rule.name


class After(_Waiting):
    """A rule that sees nothing of the first `share` of the frame budget."""

    __slots__ = ()

    def __call__(self, record: Record) -> Decision | None:
        start = self.share * record["budget_kframes"]
        first = sum(kframes <= start for kframes in record["kframes"])
        return self.rule(part(record, first, None)) if first < len(record["kframes"]) else None


class Patient(_Waiting):
    """A rule that stops a trial only after `share` of the frame budget in which it found it critical without a break."""

    __slots__ = ()

    def __call__(self, record: Record) -> Decision | None:
        found = self.rule(record)
        if found is None:
            return None
        now = record["kframes"][-1]
        if not found.critical:
            return replace(found, evidence=f"{found.evidence} at {now:.4g} kframes")
        run = 1
        for end in range(len(record["kframes"]) - 1, 0, -1):
            earlier = self.rule(part(record, 0, end))
            if earlier is None or not earlier.critical:
                break
            run += 1
        first = record["kframes"][-run]
        waited = now - first >= self.share * record["budget_kframes"]
        evidence = f"{found.evidence} in {run} of {run} validations since {first:.4g} kframes"
        return replace(found, stop=found.stop and waited, evidence=evidence)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The gravest of what some rules find; the first of equals."""

    name: str
    rules: tuple[Rule, ...]

    def __call__(self, record: Record) -> Decision | None:
        found = [decision for rule in self.rules if (decision := rule(record)) is not None]
        return replace(min(found, key=gravity), rule=self.name) if found else None


@dataclass(frozen=True, slots=True)
class AllOf:
    """What some rules find together: nothing unless each finds something, and no graver than the mildest of it."""

    name: str
    rules: tuple[Rule, ...]

    def __call__(self, record: Record) -> Decision | None:
        found = [decision for rule in self.rules if (decision := rule(record)) is not None]
        if len(found) < len(self.rules):
            return None
        mildest = max(found, key=gravity)
        evidence = ", and ".join(decision.evidence for decision in found)
        return replace(mildest, rule=self.name, severity=min(decision.severity for decision in found), evidence=evidence)


def waiting(rule: Rule, level: Floor | Ceiling | NoAlignment) -> Rule:
    """A rule with the warm-up and the patience of its level."""
    return After(Patient(rule, level.patience_share), level.warmup_share)


def low(signal: str, level: Floor) -> Rule:
    """A signal below its level, with the level's warm-up and patience."""
    return waiting(Below(signal, level), level)


def rules(levels: Levels) -> tuple[Rule, ...]:
    """Every rule, the gravest first."""
    return (
        NotFinite(levels.nonfinite),
        Patient(Explosion(levels.grad_norm), levels.grad_norm.patience_share),
        low("grad_norm_median", levels.vanishing),
        waiting(Divergence(levels.progress), levels.progress),
        *attention(levels),
        waiting(Relapse(levels.relapse), levels.relapse),
        low("gate_accuracy", levels.gate_accuracy),
        waiting(Overfit(levels.overfit_gap), levels.overfit_gap),
        Stagnant(levels.stagnation),
    )


def attention(levels: Levels) -> tuple[Rule, ...]:
    """The rules of attention alone."""
    none = levels.no_alignment
    pair = {"diagonality": none.diagonality, "alignment_score": none.alignment_score}
    both = AllOf("no_alignment", tuple(Below(signal, Floor(least, least)) for signal, least in pair.items()))
    return (
        waiting(both, none),
        low("diagonality", levels.diagonality),
        low("alignment_score", levels.alignment_score),
        low("coverage", levels.coverage),
    )
