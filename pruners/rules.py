"""When is a trial sick: pure functions of the health record that return a decision with its evidence, or None.

A rule judges the last point of a record (`pruners/health_record.py`): nothing, a warning, or critical, which asks for a stop.
How rules wait and combine is in `pruners/combinators.py`. Loads without torch and Optuna.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from pruners.health_record import Record
from pruners.thresholds import Ceiling, Floor, GradNorm, Nonfinite, Stagnation

ALIGNED = 0.3  # alignment score from which there is an alignment to lose


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule found at the last point of a record."""

    stop: bool
    rule: str
    severity: float  # > 0: how far past the level, in units of the level; 1 or more where the level gives no scale
    evidence: str  # one sentence with the numbers
    critical: bool = True  # False: only a warning


class Rule(Protocol):
    @property
    def name(self) -> str: ...

    def __call__(self, record: Record) -> Decision | None: ...


def points(record: Record, signal: str) -> list[tuple[float, float]]:
    """(kframes, value) of the points that have a value."""
    pairs = zip(record["kframes"], record[signal], strict=True)
    return [(kframes, value) for kframes, value in pairs if value is not None]


@dataclass(frozen=True, slots=True)
class Below:
    """A signal that must not be low: diagonality, alignment_score, coverage, gate_accuracy, the gradient norm's median."""

    signal: str
    level: Floor

    @property
    def name(self) -> str:
        return self.signal

    def __call__(self, record: Record) -> Decision | None:
        now = _last(record, self.signal)
        if now is None or (broken := self.level.broken(now)) is None:
            return None
        limit, critical = broken
        evidence = f"{_words(self.signal)} {_pair(now, '<', limit)}"
        return Decision(critical, self.name, 1 - now / limit, evidence, critical)


@dataclass(frozen=True, slots=True)
class Explosion:
    """The gradient norm's 95th percentile is huge, or huge against the median of this trial's own windows."""

    level: GradNorm
    name: str = "grad_norm"

    def __call__(self, record: Record) -> Decision | None:
        now = _last(record, "grad_norm_p95")
        if now is None or now <= self.level.warn:
            return None
        past = [value for _, value in points(record, "grad_norm_p95")][:-1]
        limit = self.level.critical  # the first window has no past of its own
        if past:
            limit = min(limit, max(self.level.warn, self.level.relative * median(past)))
        if now <= limit:
            return Decision(False, self.name, now / self.level.warn - 1, _over(now, self.level.warn), critical=False)
        own = "" if limit == self.level.critical else f", {self.level.relative:g} times its own median,"
        return Decision(True, self.name, now / limit - 1, _over(now, limit) + own)


@dataclass(frozen=True, slots=True)
class NotFinite:
    """Losses or gradients that are not numbers: running steps, or a validation without a loss."""

    level: Nonfinite
    name: str = "nonfinite"

    def __call__(self, record: Record) -> Decision | None:
        if not record["kframes"]:
            return None
        at = f"at {record['kframes'][-1]:.4g} kframes"
        if record["val_loss"][-1] is None:
            return Decision(True, self.name, 1.0, f"the validation loss is not finite {at}")
        streak, count = record["streak"][-1] or 0, record["nonfinite"][-1] or 0
        if streak >= self.level.critical:
            sentence = f"{streak} steps running were not finite, limit {self.level.critical}, {at}"
            return Decision(True, self.name, streak / self.level.critical, sentence)
        if count >= self.level.warn:
            sentence = f"{count} steps were not finite {at}"
            return Decision(False, self.name, count / self.level.critical, sentence, critical=False)
        return None


@dataclass(frozen=True, slots=True)
class Divergence:
    """The smoothed validation loss stands above where the record begins, which is where its warm-up ended."""

    level: Floor
    name: str = "progress"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "val_loss")
        if len(seen) < 4 or _last(record, "val_loss") is None:  # at first everybody has gained little
            return None
        first = smooth = seen[0][1]
        if not first:
            return None
        for _, value in seen[1:]:
            smooth += 0.5 * (value - smooth)
        now = 1 - smooth / first
        if (broken := self.level.broken(now)) is None:
            return None
        limit, critical = broken
        then = f"{_number(first)} at {seen[0][0]:.4g} kframes"
        evidence = f"validation loss {_number(smooth)} (smoothed) against {then}: progress {now:.2f} < {limit:g}"
        return Decision(critical, self.name, limit - now, evidence, critical)


@dataclass(frozen=True, slots=True)
class Relapse:
    """Good, then bad: a trial that had an alignment lost it again. A rule that compares best values cannot see this."""

    level: Ceiling
    name: str = "relapse"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "alignment_score")
        now = _last(record, "alignment_score")
        if now is None:
            return None
        when, best = max(seen, key=lambda point: point[1])
        lost = 1 - now / best if best >= ALIGNED else 0.0
        if (broken := self.level.broken(lost)) is None:
            return None
        limit, critical = broken
        evidence = f"alignment score {_number(now)}, {_number(best)} at {when:.4g} kframes: lost {lost:.0%} > {limit:.0%}"
        return Decision(critical, self.name, lost / limit - 1, evidence, critical)


@dataclass(frozen=True, slots=True)
class Stagnant:
    """The best validation loss hardly falls any more. Only ever a warning for a trial that aligned: it may be done rather
    than sick."""

    level: Stagnation
    name: str = "stagnation"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "val_loss")
        start = record["kframes"][-1] - self.level.window_share * record["budget_kframes"] if seen else 0.0
        before = [value for kframes, value in seen if kframes <= start]
        first, now = min(before, default=0.0), min((value for _, value in seen), default=0.0)
        if not first:
            return None
        gain = (first - now) / first
        if gain >= self.level.warn:
            return None
        score = _last(record, "alignment_score")
        sick = gain < self.level.critical and (score is None or score < ALIGNED)
        limit = self.level.critical if sick else self.level.warn
        window = f"in the last {self.level.window_share:.0%} of the budget"
        text = f"validation loss fell by {gain:.1%} < {limit:.1%} {window}, at {record['kframes'][-1]:.4g} kframes"
        return Decision(sick, self.name, limit - gain, text, critical=sick)


@dataclass(frozen=True, slots=True)
class Overfit:
    """The validation loss rises while the training loss falls away from it."""

    level: Ceiling
    name: str = "overfit_gap"

    def __call__(self, record: Record) -> Decision | None:
        now, train = _last(record, "val_loss"), _last(record, "train_loss")
        if now is None or not train:
            return None
        best = min(value for _, value in points(record, "val_loss"))
        gap = (now - train) / train
        if now <= best * 1.02 or (broken := self.level.broken(gap)) is None:
            return None
        limit, critical = broken
        text = f"validation loss {_number(now)}, best {_number(best)}, gap to training {gap:.2f} > {limit:g}"
        return Decision(critical, self.name, gap / limit - 1, text, critical)


def judge(record: Record, judges: Sequence[Rule]) -> tuple[Decision, ...]:
    """Everything found at the last point, stops first, then critical ones, then warnings; within each in the rules' order."""
    found = [decision for rule in judges if (decision := rule(record)) is not None]
    return tuple(sorted(found, key=gravity))


def gravity(decision: Decision) -> tuple[bool, bool]:
    """What to sort decisions by: stops first, then critical ones, then warnings."""
    return not decision.stop, not decision.critical


def status(found: Sequence[Decision]) -> str:
    """STABLE (nothing found), ATTENTION (a warning) or CRITICAL."""
    if not found:
        return "STABLE"
    return "CRITICAL" if any(decision.critical for decision in found) else "ATTENTION"


def _last(record: Record, signal: str) -> float | None:
    return record[signal][-1] if record[signal] else None


def _words(signal: str) -> str:
    return "median gradient norm" if signal == "grad_norm_median" else signal.replace("_", " ")


def _over(value: float, limit: float) -> str:
    return f"gradient norm {_pair(value, '>', limit)}"


def _pair(value: float, sign: str, limit: float) -> str:
    """A value and the limit that it breaks, with as many digits as it takes to see that."""
    shown = _number(value) if _number(value) != _number(limit) else f"{value:.4g}"
    return f"{shown} {sign} {_number(limit)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1_000 else f"{value:.3g}"
