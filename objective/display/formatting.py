"""Numbers, durations and outcomes as text, the same on every display, page and message. Loads without rich."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a trial in one word, with its mark (a second one for terminals without Unicode) and its colour."""

    word: str
    mark: str
    ascii: str
    style: str


HEALTHY = Verdict("healthy", "✓", "+", "green")
SICK = Verdict("sick", "!", "!", "yellow")
PRUNED = Verdict("pruned", "⊘", "/", "cyan")
FAILED = Verdict("failed", "✗", "x", "bold red")


def verdict(state: str, healthy: bool) -> Verdict:
    """Return the verdict on a trial that ended as COMPLETE, PRUNED or FAIL.

    `sick`: it ran to its end but misses a target. Whatever its value, it is never the best.
    """
    if state == "COMPLETE":
        return HEALTHY if healthy else SICK
    return PRUNED if state == "PRUNED" else FAILED


def duration(seconds: float) -> str:
    """Return `12 s`, `1 min 12 s`, `1 h 02 min` or `2 d 3 h`."""
    rounded = max(0, round(seconds))
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    minutes = rounded // 60
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def number(value: float | None) -> str:
    """Return three decimals, or three significant digits where those would be zero. A missing value is a dash."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 10_000 else f"{value:.2e}"


def share(value: float | None) -> str:
    """Return a value from 0 to 1 with two decimals."""
    return "-" if value is None else f"{value:.2f}"


def percent(value: float | None) -> str:
    """Return a share as a percentage with two digits: `12%`, `4.1%`, `0.2%`. A missing value is a dash."""
    if value is None:
        return "-"
    return f"{value:.0%}" if value == 0 or value >= 0.0995 else f"{100 * value:.2g}%"


def norm(value: float | None) -> str:
    """Return the norm of a gradient."""
    if value is None:
        return "-"
    return f"{value:.1f}" if 0.1 <= value < 10_000 else f"{value:.1e}"


def kframes(value: float) -> str:
    """Return thousands of mel frames."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def settings(params: dict[str, Any]) -> str:
    """Return parameters as `learning_rate 0.00123, reduction 2`."""
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items())


def one_line(sentence: str) -> str:
    """Return a message without line breaks, which messages of exceptions may have."""
    return " ".join(sentence.split())
