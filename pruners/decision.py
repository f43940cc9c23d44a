"""Decisions of health rules: their type, their order, and the status that follows. Loads without torch and Optuna."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pruners.health_record import Record


@dataclass(frozen=True, slots=True)
class Decision:
    """A rule's finding about the last report of a record."""

    stop: bool
    rule: str
    severity: float  # > 0: how far past the threshold, in units of it; 1 or more where the threshold gives no scale
    evidence: str  # one sentence with the numbers
    critical: bool = True  # False: only a warning


class Rule(Protocol):
    """A pure function of a health record; None where it finds nothing."""

    @property
    def name(self) -> str: ...

    def __call__(self, record: Record) -> Decision | None: ...


def judge(record: Record, rules: Sequence[Rule]) -> tuple[Decision, ...]:
    """Return every finding about the last report: stops first, then critical ones, then warnings; each in the rules' order."""
    found = [decision for rule in rules if (decision := rule(record)) is not None]
    return tuple(sorted(found, key=by_gravity))


def by_gravity(decision: Decision) -> tuple[bool, bool]:
    """Return the sort key of a decision: stops come first, then critical ones, then warnings."""
    return not decision.stop, not decision.critical


def status(found: Sequence[Decision]) -> str:
    """Return STABLE (nothing found), ATTENTION (a warning) or CRITICAL."""
    if not found:
        return "STABLE"
    return "CRITICAL" if any(decision.critical for decision in found) else "ATTENTION"
