"""Look at the texts of a corpus: how they are read, which are odd, and which come more than once."""

import random
from collections import Counter
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from model.data.split import sentence
from objective.checking.measures import Row
from objective.checking.statistics import near_equal

SHOWN = 5  # lines
RARE = 0.005  # share of the lines below which a symbol is rare


def usual(rows: Sequence[Row]) -> list[Row]:
    """Draw some lines, the same in each run."""
    return random.Random(0).sample(list(rows), min(SHOWN, len(rows)))


def odd(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Return the oddest lines with the reason: those rewritten most between page and network, and those of rare symbols."""
    lines = Counter(symbol for row in rows for symbol in set(row.read.lower()))
    rewritten = sorted(((_rewriting(row), place) for place, row in enumerate(rows)), reverse=True)
    found = {place: f"{edits} characters rewritten" for edits, place in rewritten[: SHOWN - 2] if edits}
    rarest = sorted(
        (min((lines[symbol], symbol) for symbol in set(row.read.lower())), place) for place, row in enumerate(rows) if row.read
    )
    for (count, symbol), place in rarest:
        if len(found) >= SHOWN or count > max(1, RARE * len(rows)):
            break
        found.setdefault(place, f"{symbol!r} is in {count} line{'s' * (count > 1)}")
    return [(rows[place], why) for place, why in found.items()]


def repeated(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the groups of lines with the same sentence."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(sentence(row.read), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def on_both_sides(rows: Sequence[Row]) -> list[tuple[Row, Row, float]]:
    """Return held-out lines that say nearly the same as one that is trained on, with the share of equal words."""
    held, trained = ([row for row in rows if row.validation is side] for side in (True, False))
    pairs = near_equal([sentence(row.read) for row in held], [sentence(row.read) for row in trained])
    return [(held[place], trained[other], share) for place, other, share in pairs]


def _rewriting(row: Row) -> int:
    return Levenshtein.distance(sentence(row.text), sentence(row.read))
