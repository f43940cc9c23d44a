"""The value of a trial, and the targets that it must meet to be healthy. Loads without torch.

The value comes from free-running synthesis, so that trials of any reduction factor, prenet dropout and drop-frame rate compare:
teacher-forced, a decoder can copy the frame before it, and the lower its loss the less may be understood.
"""

from dataclasses import replace

from model.report import Free, Report
from model.spoken import FreeRunning
from pruners.health_record import measurements
from pruners.thresholds import Targets


def value(kind: str, report: Report) -> float | None:
    """Return the value of a trial from a report, smaller is better; None from one without free-running figures.

    `speech`: what is understood (`speech`). `loss`: the validation loss. `mcd`: the free-running distortion in dB. `composite`:
    loss, a tenth of the distortion (10 dB weigh like one unit of loss) and the share of the sentences with a fault.
    """
    loss, free = report.val_loss, report.free
    if loss is None or free.value is None or free.mcd_db is None or free.failures is None:
        return None
    return {
        "speech": free.value,
        "loss": loss,
        "mcd": free.mcd_db,
        "composite": loss + free.mcd_db / 10 + free.failures,
    }[kind]


def with_figures(report: Report, spoken: FreeRunning | None) -> Report:
    """Return the report with the figures of a free-running synthesis; None, one that is not finite, adds nothing."""
    if spoken is None:
        return report
    free = Free(
        value=speech(spoken),
        errors=spoken.errors,
        floor=spoken.recorded_errors,
        failures=spoken.failures,
        length=spoken.length,
        silence=spoken.silence,
        alignment_score=spoken.alignment_score,
        mcd_db=spoken.mcd_db,
    )
    return replace(report, free=free)


def speech(spoken: FreeRunning) -> float:
    """Return how far a voice is from being understood, smaller is better: 0 is perfect, and mumble is near 1.

    It is the mean of two figures of the listener: the character error rate, and its surprise at the text, as a share of that of
    guessing. The first tells voices apart that are hardly understood, the second those that are understood well.
    Without a listener that hears: the share of the sentences with a fault, what the alignment score lacks to 1, and a fiftieth
    of the distortion in dB.
    """
    if spoken.errors is None or spoken.surprise is None:
        return spoken.failures + (1 - spoken.alignment_score) + spoken.mcd_db / 50
    return (spoken.errors + spoken.surprise) / 2


def violations(report: Report, targets: Targets) -> dict[str, float]:
    """Return how far a report misses each target: > 0 is missed. What could not be measured is missed by 1."""
    return targets.missed(measurements(report))


def better(new: Report, old: Report | None, kind: str, targets: Targets) -> bool:
    """Return whether a report's snapshot is the one to keep: a healthy one before any sick one, then the smaller value."""
    standing = _standing(new, kind, targets)
    if standing is None:
        return False
    before = None if old is None else _standing(old, kind, targets)
    return before is None or standing < before


def healthy(report: Report | None, targets: Targets) -> bool:
    """Return whether a report meets every target."""
    return report is not None and all(amount <= 0 for amount in violations(report, targets).values())


def misses(broken: dict[str, float], report: Report, targets: Targets) -> str:
    """Return the sentence of a sick trial: each measure that misses its target, with the target. Empty for a healthy one."""
    free = report.free
    parts = []
    for name in (name for name, amount in broken.items() if amount > 0):
        if name == "understood":
            assert free.errors is not None
            assert free.floor is not None
            parts.append(
                f"not understood: {free.errors:.0%} of the letters are heard wrong, in recordings {free.floor:.0%}; "
                f"target at most {free.floor + targets.understood:.0%}"
            )
        elif name == "free_failures" and free.failures is not None:
            parts.append(
                f"{free.failures:.0%} of the free-running sentences have a fault, target at most {targets.free_failures:.0%}"
            )
        else:
            got, target = getattr(report.health, name, None), getattr(targets, name)
            shown = "not measurable" if got is None else f"{got:.2f}" if f"{got:.2f}" != f"{target:.2f}" else f"{got:.4f}"
            parts.append(f"{name.replace('_', ' ')} {shown}, target {target:.2f}")
    return "; ".join(parts)


def _standing(report: Report, kind: str, targets: Targets) -> tuple[bool, float] | None:
    amount = value(kind, report)
    return None if amount is None else (not healthy(report, targets), amount)
