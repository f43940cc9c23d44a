"""The health rules: pure functions of the health record that detect a failing trial and give the evidence.

A rule judges the last report of a record (`pruners/health_record.py`): nothing, a warning, or critical, which requests a stop.
`SHIPPED_RULES` lists the rules. A rule's thresholds are the setting of its name (`pruners/thresholds.py`), from which its
warm-up and patience follow (`pruners/combinators.py`). Loads without torch and Optuna.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Literal, NamedTuple

from pruners.combinators import AllOf, delayed
from pruners.decision import Decision, Rule
from pruners.health_record import Record, values_of
from pruners.thresholds import Ceiling, Floor, GradNorm, Mumbling, NoAlignment, Nonfinite, Stagnation, Thresholds

ALIGNED = 0.6  # reading from which there is an alignment to lose; attention without one drifts over half of the text at most

Cause = Literal["exploded", "unaligned", "mumbles", "never_stops", "overfitted", "too_slow"]  # the key of a remedy


def measured(record: Record, signal: str) -> list[tuple[float, float]]:
    """Return (kframes, value) of the reports in which the signal was measured."""
    pairs = zip(record["kframes"], values_of(record, signal), strict=True)
    return [(kframes, value) for kframes, value in pairs if value is not None]


@dataclass(frozen=True, slots=True)
class Below:
    """A signal is too low: diagonality, reading, coverage, gate_accuracy or the median gradient norm."""

    signal: str
    limits: Floor

    @property
    def name(self) -> str:
        return self.signal

    def __call__(self, record: Record) -> Decision | None:
        now = _last(record, self.signal)
        if now is None or (crossed := self.limits.crossed(now)) is None:
            return None
        limit, critical = crossed
        evidence = f"{_label(self.signal)} {_pair(now, '<', limit)}"
        return Decision(critical, self.name, 1 - now / limit, evidence, critical)


@dataclass(frozen=True, slots=True)
class Explosion:
    """The gradient norm's 95th percentile is too high, or too high relative to the median of this trial's own windows."""

    limits: GradNorm
    name: str = "grad_norm"

    def __call__(self, record: Record) -> Decision | None:
        now = _last(record, "grad_norm_p95")
        if now is None or now <= self.limits.warn:
            return None
        past = [value for _, value in measured(record, "grad_norm_p95")][:-1]
        limit = self.limits.critical  # the first window has no past of its own
        if past:
            limit = min(limit, max(self.limits.warn, self.limits.relative * median(past)))
        if now <= limit:
            return Decision(False, self.name, now / self.limits.warn - 1, _over(now, self.limits.warn), critical=False)
        own = "" if limit == self.limits.critical else f", {self.limits.relative:g} times its own median,"
        return Decision(True, self.name, now / limit - 1, _over(now, limit) + own)


@dataclass(frozen=True, slots=True)
class NotFinite:
    """Losses or gradients are not finite: in consecutive steps, or in a validation."""

    limits: Nonfinite
    name: str = "nonfinite"

    def __call__(self, record: Record) -> Decision | None:
        if not record["kframes"]:
            return None
        at = f"at {record['kframes'][-1]:.4g} kframes"
        if record["val_loss"][-1] is None:
            return Decision(True, self.name, 1.0, f"the validation loss is not finite {at}")
        streak, count = record["streak"][-1] or 0, record["nonfinite"][-1] or 0
        if streak >= self.limits.critical:
            sentence = f"{streak} consecutive steps were not finite, limit {self.limits.critical}, {at}"
            return Decision(True, self.name, streak / self.limits.critical, sentence)
        if count >= self.limits.warn:
            sentence = f"{count} steps were not finite {at}"
            return Decision(False, self.name, count / self.limits.critical, sentence, critical=False)
        return None


@dataclass(frozen=True, slots=True)
class Divergence:
    """The smoothed validation loss has risen above the first one of the record, which is that at the end of the warm-up."""

    limits: Floor
    name: str = "progress"

    def __call__(self, record: Record) -> Decision | None:
        losses = measured(record, "val_loss")
        if len(losses) < 4 or _last(record, "val_loss") is None:  # at first every trial has gained little
            return None
        first = smooth = losses[0][1]
        if not first:
            return None
        for _, value in losses[1:]:
            smooth += 0.5 * (value - smooth)
        now = 1 - smooth / first
        if (crossed := self.limits.crossed(now)) is None:
            return None
        limit, critical = crossed
        then = f"{_number(first)} at {losses[0][0]:.4g} kframes"
        evidence = f"validation loss {_number(smooth)} (smoothed) against {then}: progress {now:.2f} < {limit:g}"
        return Decision(critical, self.name, limit - now, evidence, critical)


@dataclass(frozen=True, slots=True)
class Relapse:
    """A trial that had an alignment has lost it. A rule that compares the best values so far cannot see this."""

    limits: Ceiling
    name: str = "relapse"

    def __call__(self, record: Record) -> Decision | None:
        readings = measured(record, "reading")
        now = _last(record, "reading")
        if now is None:
            return None
        when, best = max(readings, key=lambda reading: reading[1])
        lost = 1 - now / best if best >= ALIGNED else 0.0
        if (crossed := self.limits.crossed(lost)) is None:
            return None
        limit, critical = crossed
        evidence = f"reading {_number(now)}, {_number(best)} at {when:.4g} kframes: lost {lost:.0%} > {limit:.0%}"
        return Decision(critical, self.name, lost / limit - 1, evidence, critical)


@dataclass(frozen=True, slots=True)
class Unclear:
    """Free-running, so few letters are heard that the pace so far leaves the voice unclear at the end of the budget.

    Teacher-forced figures cannot tell this: a decoder that copies the frame before has them all in order. Letters are counted
    as a share of those that the listener hears in recordings, and the pace is a straight line.
    """

    limits: Mumbling
    name: str = "mumbling"

    def __call__(self, record: Record) -> Decision | None:
        errors, floor = _last(record, "free_errors"), _last(record, "free_floor")
        if errors is None or floor is None or floor >= 1:
            return None
        kframes = record["kframes"][-1]
        share = kframes / record["budget_kframes"]
        heard = max(0.0, 1 - errors) / (1 - floor)
        now = heard / share
        if now >= self.limits.warn:
            return None
        critical = now < self.limits.critical
        limit = self.limits.critical if critical else self.limits.warn
        evidence = (
            f"free-running, {heard:.0%} of the letters are heard that are heard in recordings, at {kframes:.4g} kframes: "
            f"{now:.0%} < {limit:.0%} at the end of the budget at this pace"
        )
        return Decision(critical, self.name, 1 - now / limit, evidence, critical)


@dataclass(frozen=True, slots=True)
class Stagnant:
    """The best validation loss hardly falls any more. For a trial that has aligned only a warning: it may be done."""

    limits: Stagnation
    name: str = "stagnation"

    def __call__(self, record: Record) -> Decision | None:
        losses = measured(record, "val_loss")
        start = record["kframes"][-1] - self.limits.window_share * record["budget_kframes"] if losses else 0.0
        before = [value for kframes, value in losses if kframes <= start]
        first, now = min(before, default=0.0), min((value for _, value in losses), default=0.0)
        if not first:
            return None
        gain = (first - now) / first
        if gain >= self.limits.warn:
            return None
        reading = _last(record, "reading")
        critical = gain < self.limits.critical and (reading is None or reading < ALIGNED)
        limit = self.limits.critical if critical else self.limits.warn
        window = f"in the last {self.limits.window_share:.0%} of the budget"
        text = f"validation loss fell by {gain:.1%} < {limit:.1%} {window}, at {record['kframes'][-1]:.4g} kframes"
        return Decision(critical, self.name, limit - gain, text, critical)


@dataclass(frozen=True, slots=True)
class Overfit:
    """The validation loss rises while the training loss falls."""

    limits: Ceiling
    name: str = "overfit_gap"

    def __call__(self, record: Record) -> Decision | None:
        now, train = _last(record, "val_loss"), _last(record, "train_loss")
        if now is None or not train:
            return None
        best = min(value for _, value in measured(record, "val_loss"))
        gap = (now - train) / train
        if now <= best * 1.02 or (crossed := self.limits.crossed(gap)) is None:
            return None
        limit, critical = crossed
        text = f"validation loss {_number(now)}, best {_number(best)}, gap to training {gap:.2f} > {limit:g}"
        return Decision(critical, self.name, gap / limit - 1, text, critical)


def no_alignment(limits: NoAlignment) -> Rule:
    """Return the rule that finds attention that is not on the diagonal and reads nothing in order: both are low."""
    least = {"diagonality": limits.diagonality, "reading": limits.reading}
    return AllOf("no_alignment", tuple(Below(signal, Floor(low, low)) for signal, low in least.items()))


class ShippedRule(NamedTuple):
    """A shipped rule: a function that makes it from its thresholds, and the cause that it is a symptom of."""

    make: Callable[[Any], Rule]
    cause: Cause


# By the name of the rule, which is that of its thresholds; the gravest first.
SHIPPED_RULES: dict[str, ShippedRule] = {
    "nonfinite": ShippedRule(NotFinite, "exploded"),
    "grad_norm": ShippedRule(Explosion, "exploded"),
    "grad_norm_median": ShippedRule(partial(Below, "grad_norm_median"), "too_slow"),
    "progress": ShippedRule(Divergence, "exploded"),
    "no_alignment": ShippedRule(no_alignment, "unaligned"),
    "diagonality": ShippedRule(partial(Below, "diagonality"), "unaligned"),
    "reading": ShippedRule(partial(Below, "reading"), "unaligned"),
    "coverage": ShippedRule(partial(Below, "coverage"), "unaligned"),
    "mumbling": ShippedRule(Unclear, "mumbles"),
    "relapse": ShippedRule(Relapse, "exploded"),
    "gate_accuracy": ShippedRule(partial(Below, "gate_accuracy"), "never_stops"),
    "overfit_gap": ShippedRule(Overfit, "overfitted"),
    "stagnation": ShippedRule(Stagnant, "too_slow"),
}


def shipped_rules(thresholds: Thresholds, cause: Cause | None = None) -> tuple[Rule, ...]:
    """Return the shipped rules with their warm-up and patience, the gravest first; with `cause` only those of this cause."""
    chosen = [name for name, shipped in SHIPPED_RULES.items() if cause in (None, shipped.cause)]
    limits = {name: getattr(thresholds, name) for name in chosen}
    return tuple(delayed(SHIPPED_RULES[name].make(limits[name]), limits[name]) for name in chosen)


def _last(record: Record, signal: str) -> float | None:
    values = values_of(record, signal)
    return values[-1] if values else None


def _label(signal: str) -> str:
    return "median gradient norm" if signal == "grad_norm_median" else signal.replace("_", " ")


def _over(value: float, limit: float) -> str:
    return f"gradient norm {_pair(value, '>', limit)}"


def _pair(value: float, sign: str, limit: float) -> str:
    """Return a value and the limit that it crosses, with as many digits as it takes to see that."""
    shown = _number(value) if _number(value) != _number(limit) else f"{value:.4g}"
    return f"{shown} {sign} {_number(limit)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1_000 else f"{value:.3g}"
