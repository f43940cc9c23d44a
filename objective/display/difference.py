"""Tell whether two sides differ, by their seeds or on the same sentences: effect, interval, permutation test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from scipy import stats

LEVEL = 0.05  # of the test: of 20 comparisons of equals one may be told apart
LEAST = 4  # results of each side: of 3 and 3 even the clearest difference has a p-value of 0.1
PAIRS = 6  # sentences: of 5 even the clearest difference has a p-value of 0.06
RESAMPLES = 20_000  # at most; with up to 8 results of each side, or 14 pairs, the test is exact


@dataclass(frozen=True, slots=True)
class Difference:
    """The results of A and B in one figure, of which smaller is better."""

    figure: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    effect: float  # mean of B less that of A
    interval: tuple[float, float]  # of the effect, 95 %: Welch's, of pairs by bootstrap
    p: float  # of the permutation test: how often labels given by chance differ as much
    results: str  # how many of them there are

    @property
    def better(self) -> str | None:
        """Return "A" or "B"; None where chance may explain the difference."""
        if self.p > LEVEL:
            return None
        return "A" if self.effect > 0 else "B"

    @property
    def verdict(self) -> str:
        low, high = self.interval
        means = f"{np.mean(self.a):.3g} and {np.mean(self.b):.3g}"
        effect = f"effect {self.effect:+.3g} [{low:+.3g}, {high:+.3g}]"
        found = f"{self.better} is better" if self.better else "no difference"
        return f"{found}: {means}, {effect}, p = {self.p:.3g}, {self.results}"


def difference(figure: str, a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare the results of two sides. Raises ValueError for fewer than LEAST of a side, or for ones that are not finite.

    The permutation test asks nothing of their distribution (Fisher 1935); the interval is Welch's (1947).
    """
    if min(len(a), len(b)) < LEAST:
        raise ValueError(f"need at least {LEAST} results of each side, got {len(a)} and {len(b)}: use more seeds")
    _require_finite(figure, a, b)
    results = f"{len(a)} and {len(b)} seeds"
    if len({*a, *b}) == 1:
        return Difference(figure, tuple(a), tuple(b), 0.0, (0.0, 0.0), 1.0, results)
    tested = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(y, axis) - np.mean(x, axis), n_resamples=RESAMPLES, vectorized=True, rng=0
    )
    low, high = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    effect = float(np.mean(b) - np.mean(a))
    return Difference(figure, tuple(a), tuple(b), effect, (float(low), float(high)), float(tested.pvalue), results)


def paired(figure: str, a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare the results of two sides on the same sentences, one by one: sentences differ more than voices do.

    The permutation test exchanges the two results of a sentence (Fisher 1935); the interval is that of the bootstrap over
    sentences, its percentiles (Efron 1979). Raises ValueError for fewer than PAIRS, or for results that are not finite.
    """
    if len(a) != len(b) or len(a) < PAIRS:
        raise ValueError(f"need at least {PAIRS} pairs, got {len(a)} and {len(b)} results: use more sentences")
    _require_finite(figure, a, b)
    results, differences = f"{len(a)} sentences", np.subtract(b, a)
    if not differences.any():
        return Difference(figure, tuple(a), tuple(b), 0.0, (0.0, 0.0), 1.0, results)
    tested = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, vectorized=True, rng=0
    )
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    effect = float(differences.mean())
    return Difference(figure, tuple(a), tuple(b), effect, (float(low), float(high)), float(tested.pvalue), results)


def _require_finite(figure: str, a: Sequence[float], b: Sequence[float]) -> None:
    if not all(map(isfinite, (*a, *b))):
        raise ValueError(f"need finite results of {figure}, got {sorted((*a, *b))[-1]}")
