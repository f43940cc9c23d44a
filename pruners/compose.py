"""How rules wait and combine: after a warm-up, patiently, any of several, all of several. And the shipped set of rules.

A combination is a rule itself, so `After(Patient(Below("diagonality", level), 0.08), 0.3)` reads from the inside: low, for 8 %
of the budget, once 30 % are over.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pruners.levels import Floor, Levels
from pruners.record import Record, part
from pruners.rules import Below, Decision, Divergence, Explosion, NotFinite, Overfit, Relapse, Rule, Stagnant, gravity


@dataclass(frozen=True, slots=True)
class After:
    """A rule that sees nothing of the first `share` of the frame budget."""

    rule: Rule
    share: float

    @property
    def name(self) -> str:
        return self.rule.name

    def __call__(self, record: Record) -> Decision | None:
        start = self.share * record["budget_kframes"]
        first = sum(kframes <= start for kframes in record["kframes"])
        return self.rule(part(record, first, None)) if first < len(record["kframes"]) else None


@dataclass(frozen=True, slots=True)
class Patient:
    """A rule that stops a trial only after `share` of the frame budget in which it found it critical without a break."""

    rule: Rule
    share: float

    @property
    def name(self) -> str:
        return self.rule.name

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


def low(signal: str, level: Floor) -> Rule:
    """A signal below its level, with the level's warm-up and patience."""
    return After(Patient(Below(signal, level), level.patience_share), level.warmup_share)


def rules(levels: Levels) -> tuple[Rule, ...]:
    """Every rule, the gravest first."""
    relapse, gap, progress = levels.relapse, levels.overfit_gap, levels.progress
    return (
        NotFinite(levels.nonfinite),
        Patient(Explosion(levels.grad_norm), levels.grad_norm.patience_share),
        low("grad_norm_median", levels.vanishing),
        After(Patient(Divergence(progress), progress.patience_share), progress.warmup_share),
        *attention(levels),
        After(Patient(Relapse(relapse), relapse.patience_share), relapse.warmup_share),
        low("gate_accuracy", levels.gate_accuracy),
        After(Patient(Overfit(gap), gap.patience_share), gap.warmup_share),
        Stagnant(levels.stagnation),
    )


def attention(levels: Levels) -> tuple[Rule, ...]:
    """The rules of attention alone."""
    none = levels.no_alignment
    both = AllOf(
        "no_alignment",
        (
            Below("diagonality", Floor(none.diagonality, none.diagonality)),
            Below("alignment_score", Floor(none.alignment_score, none.alignment_score)),
        ),
    )
    alone: Sequence[str] = ("diagonality", "alignment_score", "coverage")
    return (
        After(Patient(both, none.patience_share), none.warmup_share),
        *(low(name, getattr(levels, name)) for name in alone),
    )
