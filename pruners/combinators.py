"""Rules made of rules: after a warm-up, with patience, any of several, all of several.

A combination is a rule itself, so `After(Patient(Below("diagonality", floor), 0.08), 0.3)` reads from the inside: low, for 8 %
of the frame budget, once 30 % are over.
"""

from dataclasses import dataclass, replace
from typing import Any

from pruners.decision import Decision, Rule, by_gravity
from pruners.health_record import Record, excerpt


@dataclass(frozen=True, slots=True)
class _Delayed:
    rule: Rule
    share: float  # of the frame budget

    @property
    def name(self) -> str:
        return self.rule.name


class After(_Delayed):
    """A rule that ignores the first `share` of the frame budget."""

    __slots__ = ()

    def __call__(self, record: Record) -> Decision | None:
        start = self.share * record["budget_kframes"]
        first = sum(kframes <= start for kframes in record["kframes"])
        return self.rule(excerpt(record, first, None)) if first < len(record["kframes"]) else None


class Patient(_Delayed):
    """A rule that stops a trial only once it was critical at every report for `share` of the frame budget."""

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
            earlier = self.rule(excerpt(record, 0, end))
            if earlier is None or not earlier.critical:
                break
            run += 1
        first = record["kframes"][-run]
        waited = now - first >= self.share * record["budget_kframes"]
        evidence = f"{found.evidence} in {run} of {run} validations since {first:.4g} kframes"
        return replace(found, stop=found.stop and waited, evidence=evidence)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A rule that finds the gravest of what several rules find; among equals the first."""

    name: str
    rules: tuple[Rule, ...]

    def __call__(self, record: Record) -> Decision | None:
        found = [decision for rule in self.rules if (decision := rule(record)) is not None]
        return replace(min(found, key=by_gravity), rule=self.name) if found else None


@dataclass(frozen=True, slots=True)
class AllOf:
    """A rule that finds something where each of several rules does; as grave as the mildest of their findings."""

    name: str
    rules: tuple[Rule, ...]

    def __call__(self, record: Record) -> Decision | None:
        found = [decision for rule in self.rules if (decision := rule(record)) is not None]
        if len(found) < len(self.rules):
            return None
        mildest = max(found, key=by_gravity)
        evidence = ", and ".join(decision.evidence for decision in found)
        return replace(mildest, rule=self.name, severity=min(decision.severity for decision in found), evidence=evidence)


def delayed(rule: Rule, limits: Any) -> Rule:
    """Return `rule` with the warm-up and the patience of its thresholds, as far as these have them."""
    if hasattr(limits, "patience_share"):
        rule = Patient(rule, limits.patience_share)
    return After(rule, limits.warmup_share) if hasattr(limits, "warmup_share") else rule
