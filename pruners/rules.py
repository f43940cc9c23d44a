"""When is a trial sick: pure functions of the health record that return a decision with its evidence, or None.

A rule sees the record (`pruners/record.py`), skips missing values, and answers with the worst that holds at the last point:
nothing, a warning, something critical, or a stop once it was critical for as long as its patience. Loads without torch and
Optuna.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from pruners.levels import Ceiling, Floor, GradNorm, Levels, Nonfinite, Stagnation
from pruners.record import Record


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


def points(record: Record, signal: str, after_share: float = 0.0) -> list[tuple[float, float]]:
    """(kframes, value) of the points past a share of the budget that have a value."""
    start = after_share * record["budget_kframes"]
    pairs = zip(record["kframes"], record[signal], strict=True)
    return [(kframes, value) for kframes, value in pairs if value is not None and kframes > start]


@dataclass(frozen=True, slots=True)
class Below:
    """A signal that must not stay low: diagonality, alignment_score, coverage, gate_accuracy, the gradient norm's median."""

    signal: str
    level: Floor
    after_share: float = 0.0

    @property
    def name(self) -> str:
        return self.signal

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, self.signal, self.after_share)
        if not seen or seen[-1][1] >= self.level.warn:
            return None
        now, critical = seen[-1][1], self.level.critical
        label = self.signal.replace("_", " ")
        if now >= critical:
            sentence = f"{label} {_pair(now, '<', self.level.warn)} at {seen[-1][0]:.4g} kframes"
            return Decision(False, self.name, 1 - now / self.level.warn, sentence, critical=False)
        run = _run([value < critical for _, value in seen])
        return Decision(
            stop=run >= self.level.patience,
            rule=self.name,
            severity=1 - now / critical,
            evidence=f"{label} {_pair(now, '<', critical)} in {_since(seen, run)}",
        )


@dataclass(frozen=True, slots=True)
class Explosion:
    """The gradient norm's 95th percentile is huge, or huge against the median of this trial's own windows."""

    level: GradNorm
    name: str = "grad_norm"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "grad_norm_p95")
        if not seen or seen[-1][1] <= self.level.warn:
            return None
        values = [value for _, value in seen]
        limits = [self.level.critical]  # the first window has no past of its own
        for i in range(1, len(values)):
            own = self.level.relative * median(values[:i])
            limits.append(min(self.level.critical, max(self.level.warn, own)))
        now, limit = values[-1], limits[-1]
        if now <= limit:
            sentence = f"gradient norm {_number(now)} > {_number(self.level.warn)} at {seen[-1][0]:.4g} kframes"
            return Decision(False, self.name, now / self.level.warn - 1, sentence, critical=False)
        run = _run([value > limit for value, limit in zip(values, limits, strict=True)])
        times = "" if limit == self.level.critical else f", {self.level.relative:g} times its own median"
        return Decision(
            stop=run >= self.level.patience,
            rule=self.name,
            severity=now / limit - 1,
            evidence=f"gradient norm {_number(now)} > {_number(limit)}{times}, in {_since(seen, run)}",
        )


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
    """The smoothed validation loss stands above where it stood when the warm-up ended: nothing was learnt since."""

    level: Floor
    after_share: float
    name: str = "progress"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "val_loss", self.after_share)
        if len(seen) < 2:
            return None
        first = smooth = seen[0][1]
        progress = []
        for _, value in seen[1:]:
            smooth += 0.5 * (value - smooth)
            progress.append(1 - smooth / first)
        now = progress[-1]
        if now >= self.level.warn:
            return None
        # The warning waits as well: one validation after the warm-up, everybody has gained little.
        run = _run([value < self.level.critical for value in progress])
        then = f"{_number(first)} at {seen[0][0]:.4g} kframes"
        text = f"validation loss {_number(smooth)} (smoothed) against {then}: progress {now:.2f}"
        if now >= self.level.critical:
            if len(progress) < self.level.patience:
                return None
            return Decision(False, self.name, self.level.warn - now, f"{text} < {self.level.warn:g}", critical=False)
        evidence = f"{text} < {self.level.critical:g} in {_since(seen[1:], run)}"
        return Decision(run >= self.level.patience, self.name, self.level.critical - now, evidence)


@dataclass(frozen=True, slots=True)
class Stagnant:
    """The best validation loss hardly falls any more while the loss is no better than it was. Only ever a warning for a
    trial that aligned: it may be done rather than sick."""

    level: Stagnation
    aligned: float  # alignment_score from which a trial counts as aligned
    name: str = "stagnation"

    def __call__(self, record: Record) -> Decision | None:
        seen = points(record, "val_loss")
        if len(seen) <= self.level.window:
            return None
        before = min(value for _, value in seen[: -self.level.window])
        now = min(value for _, value in seen[-self.level.window :])
        gain = (before - now) / before
        if gain >= self.level.warn:
            return None
        score = record["alignment_score"][-1]
        sick = gain < self.level.critical and (score is None or score < self.aligned)
        limit = self.level.critical if sick else self.level.warn
        text = f"validation loss fell by {gain:.1%} < {limit:.1%} in the last {self.level.window} validations"
        return Decision(sick, self.name, limit - gain, text, critical=sick)


@dataclass(frozen=True, slots=True)
class Overfit:
    """The validation loss rises while the training loss falls away from it."""

    level: Ceiling
    name: str = "overfit_gap"

    def __call__(self, record: Record) -> Decision | None:
        rows = zip(record["kframes"], record["val_loss"], record["train_loss"], strict=True)
        seen = [(kframes, val, (val - train) / train) for kframes, val, train in rows if val is not None and train]
        if len(seen) < 2:
            return None
        best = [min(val for _, val, _ in seen[: i + 1]) for i in range(len(seen))]
        rising = [val > lowest * 1.02 for (_, val, _), lowest in zip(seen, best, strict=True)]
        gap = seen[-1][2]
        if not rising[-1] or gap <= self.level.warn:
            return None
        text = f"validation loss {_number(seen[-1][1])}, best {_number(best[-1])}, gap to training {gap:.2f}"
        if gap <= self.level.critical:
            return Decision(False, self.name, gap / self.level.warn - 1, f"{text} > {self.level.warn:g}", critical=False)
        run = _run([up and g > self.level.critical for (_, _, g), up in zip(seen, rising, strict=True)])
        evidence = f"{text} > {self.level.critical:g} in {_since([(k, g) for k, _, g in seen], run)}"
        return Decision(run >= self.level.patience, self.name, gap / self.level.critical - 1, evidence)


def rules(levels: Levels) -> tuple[Rule, ...]:
    """Every rule, the gravest first."""
    attention = ("diagonality", "alignment_score", "coverage")
    return (
        NotFinite(levels.nonfinite),
        Explosion(levels.grad_norm),
        Below("grad_norm_median", levels.vanishing),
        Divergence(levels.progress, levels.warmup_share),
        *(Below(name, getattr(levels, name), levels.warmup_share) for name in attention),
        Below("gate_accuracy", levels.gate_accuracy, levels.gate_warmup_share),
        Overfit(levels.overfit_gap),
        Stagnant(levels.stagnation, levels.alignment_score.warn),
    )


def judge(record: Record, judges: Sequence[Rule]) -> tuple[Decision, ...]:
    """Everything found at the last point, stops first, then critical ones, then warnings; within each in the rules' order."""
    found = [decision for rule in judges if (decision := rule(record)) is not None]
    return tuple(sorted(found, key=lambda decision: (not decision.stop, not decision.critical)))


def status(found: Sequence[Decision]) -> str:
    """STABLE (nothing found), ATTENTION (a warning) or CRITICAL."""
    if not found:
        return "STABLE"
    return "CRITICAL" if any(decision.critical for decision in found) else "ATTENTION"


def _run(flags: Sequence[bool]) -> int:
    """How many at the end are true without a break."""
    for length, flag in enumerate(reversed(flags)):
        if not flag:
            return length
    return len(flags)


def _since(seen: Sequence[tuple[float, float]], run: int) -> str:
    return f"{run} of {run} validations since {seen[-run][0]:.4g} kframes"


def _pair(value: float, sign: str, limit: float) -> str:
    """A value and the limit that it breaks, with as many digits as it takes to see that."""
    shown = _number(value) if _number(value) != _number(limit) else f"{value:.4g}"
    return f"{shown} {sign} {_number(limit)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1_000 else f"{value:.3g}"
