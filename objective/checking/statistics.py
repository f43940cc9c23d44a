"""Robust statistics of a corpus: what is usual in it, and which lines are far from that. Loads without torch.

A level is never a number of this program alone: it is so many deviations from the corpus's own median, and the deviation has a
floor so that a corpus of one synthetic speed does not call every tenth of a second an outlier.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

NORMAL = 1.4826  # times the median absolute deviation is the standard deviation, in a normal distribution
LETTER = 5.0  # letters' worth of chance in a line's length: the first and the last sound, a breath, a final vowel
SHIFTS = (-2, -1, 1, 2)
LEAST_LINES = 12  # from which on lengths say something about a whole corpus
SURE = 4.0  # standard errors that one correlation has to be above another
RATE_SPREAD = 0.15  # deviation of the log of the seconds per letter, in the more irregular of the corpora looked at
LOST = 0.5  # share of the expected correlation below which texts and sounds do not belong together
FEWEST_LETTERS_A_SECOND, MOST_LETTERS_A_SECOND = 6.0, 25.0  # read speech of English and Russian has 9 to 15


def deviation(values: Values) -> tuple[float, float]:
    """Return the median and the deviation that a normal distribution with this median absolute deviation has."""
    middle = float(np.median(values))
    return middle, NORMAL * float(np.median(np.abs(values - middle)))


def distances(values: Values, floor: float) -> Values:
    """Return how many deviations each value is from the median; the deviation is at least `floor`."""
    middle, spread = deviation(values)
    return np.asarray((values - middle) / max(spread, floor))


def rate_distances(seconds: Values, letters: Values, floor: float = 0.1) -> Values:
    """Return how many deviations the log of the seconds per letter is from that of the corpus: below 0 too fast.

    Short lines vary more, as the length of a single sound does not average out.
    """
    return distances(np.log(seconds / letters), floor) / (1 + LETTER / letters)


def correlation(first: Values, second: Values) -> float:
    """Return the correlation of the ranks (Spearman); 0 where one of them is constant."""
    one, other = (ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second)))
    spread = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / spread if spread else 0.0


def shifted(seconds: Values, letters: Values) -> dict[int, float]:
    """Return the correlation of the texts' letters with the seconds of the lines 0, 1 or 2 before or behind them.

    At shift 1 the text of each line is held against the sound of the next one.
    """
    found = {0: correlation(seconds, letters)}
    for shift in SHIFTS:
        if len(seconds) >= LEAST_LINES:
            ahead, behind = (seconds[shift:], letters[:-shift]) if shift > 0 else (seconds[:shift], letters[-shift:])
            found[shift] = correlation(ahead, behind)
    return found


def expected_correlation(letters: Values) -> float:
    """Return the correlation that texts of these lengths have with their own sounds, spoken with the usual irregularity."""
    spread = float(np.std(np.log(letters)))
    return spread / float(np.hypot(spread, RATE_SPREAD))


def verdict(seconds: Values, letters: Values) -> tuple[str, int]:
    """Return what the lengths say of a whole corpus, and by how many lines the texts are shifted.

    `fine`, `shifted`, `shuffled`, `cut` (too few letters for the seconds), `crowded` (too many), or `unknown` where there are
    too few texts, or too equal in length, to say.
    """
    if len(seconds) < LEAST_LINES:
        return "unknown", 0
    found, expected = shifted(seconds, letters), expected_correlation(letters)
    error = 1 / np.sqrt(len(seconds) - 3)
    shift = max(found, key=lambda one: found[one])
    if shift and _fisher(found[shift]) - _fisher(found[0]) > SURE * error and found[shift] > LOST * expected:
        return "shifted", shift
    if _fisher(expected) - SURE * error < _fisher(LOST * expected):
        return "unknown", 0
    if found[0] < LOST * expected:
        return "shuffled", 0
    pace = float(np.median(letters / seconds))
    return ("cut" if pace < FEWEST_LETTERS_A_SECOND else "crowded" if pace > MOST_LETTERS_A_SECOND else "fine"), 0


def _ranks(values: Values) -> Values:
    """Return the ranks, equal ones with their mean."""
    unique, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place.reshape(-1)]) if len(unique) else values


def _fisher(correlated: float) -> float:
    return float(np.arctanh(np.clip(correlated, -0.999, 0.999)))


def near_equal(texts: Sequence[str], others: Sequence[str], least: float = 0.8, words: int = 5) -> list[tuple[int, int, float]]:
    """Return (place in `texts`, place in `others`, share) of texts that have at least this share of their words in common.

    Texts of fewer `words` have them in common by chance.
    """
    bags = [frozenset(text.split()) for text in others]
    homes: dict[str, list[int]] = {}
    for place, bag in enumerate(bags):
        for word in bag:
            homes.setdefault(word, []).append(place)
    pairs = []
    for place, text in enumerate(texts):
        own = frozenset(text.split())
        if len(own) < words:
            continue
        searched = len(own) + 1 - ceil(least * len(own) - 1e-9)  # one of so many words is shared
        rarest = sorted(own, key=lambda word: len(homes.get(word, ())))[:searched]
        near = {other for word in rarest for other in homes.get(word, ())}
        alike = [(len(own & bags[other]) / len(own | bags[other]), other) for other in near]
        if alike and max(alike)[0] >= least:
            pairs.append((place, max(alike)[1], max(alike)[0]))
    return pairs
