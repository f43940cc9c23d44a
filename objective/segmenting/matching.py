"""Match what was heard with a transcript, letter by letter, and so find which units are said in which speech.

The edit distance of two long texts takes seconds and little memory, whatever one of them lacks. Units whose letters were heard
are anchors. Between two anchors in order, a text that was not heard, or speech that no text has, ends a block: what lies beyond
does not shift.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

HEARD = 0.7  # of a unit's letters, from which on it is an anchor
LONG = 6  # letters of a unit that is an anchor also without an anchor beside it
TIMES, MORE = 2.5, 12  # letters said between two anchors against those written: MORE and TIMES as many are not the same text


class Anchor(NamedTuple):
    unit: int
    span: int
    first: int  # its first letter in what was heard
    last: int  # its last one


class Block(NamedTuple):
    """Units that are said in neighbouring speech, the last ones included."""

    first_unit: int
    last_unit: int
    first_span: int
    last_span: int


def anchors(heard: str, spans: Sequence[int], units: Sequence[str]) -> list[Anchor]:
    """Return the units that were heard in one span, in order. `spans` has the span of each letter of `heard`."""
    owners = [unit for unit, letters in enumerate(units) for _ in letters]
    places: dict[int, list[int]] = {}
    for block in Levenshtein.opcodes("".join(units), heard):
        if block.tag == "equal":
            for step in range(block.src_end - block.src_start):
                places.setdefault(owners[block.src_start + step], []).append(block.dest_start + step)
    found: list[Anchor] = []
    for unit, letters in sorted(places.items()):
        span, count = Counter(spans[letter] for letter in letters).most_common(1)[0]
        if count == len(letters) >= HEARD * len(units[unit]):
            found.append(Anchor(unit, span, letters[0], letters[-1]))
    known = {anchor.unit for anchor in found}
    return [anchor for anchor in found if len(units[anchor.unit]) >= LONG or known & {anchor.unit - 1, anchor.unit + 1}]


def blocks(
    found: Sequence[Anchor], heard: str, spans: Sequence[int], units: Sequence[str], clauses: Collection[int] = ()
) -> list[Block]:
    """Return runs of units without a hole, in order. `clauses` are the units that end one, where holes begin and end."""
    if not found:
        return []
    start = Anchor(-1, spans[0] if spans else 0, -1, -1)
    end = Anchor(len(units), spans[-1] if spans else 0, len(heard), len(heard))
    chain = [start, *found, end]
    result: list[Block] = []
    first_unit, first_span = 0, start.span
    for left, right in itertools.pairwise(chain):
        written = sum(map(len, units[left.unit + 1 : right.unit]))
        said = right.first - left.last - 1
        if written <= TIMES * said + MORE and said <= TIMES * written + MORE:
            continue
        after, before = _leftovers(left, right, spans, units, clauses)
        if left is not start:
            result.append(Block(first_unit, after, first_span, left.span))
        first_unit, first_span = before, right.span
    if chain[-2].unit >= first_unit and (not result or result[-1].last_unit < chain[-2].unit):
        result.append(Block(first_unit, len(units) - 1, first_span, end.span))
    return result


def joints(found: Sequence[Anchor]) -> dict[int, int]:
    """Return the pauses that the anchors on both sides make certain: behind which span which unit begins."""
    return {
        left.span: right.unit
        for left, right in itertools.pairwise(found)
        if right.unit == left.unit + 1 and right.span == left.span + 1
    }


def _leftovers(
    left: Anchor, right: Anchor, spans: Sequence[int], units: Sequence[str], clauses: Collection[int]
) -> tuple[int, int]:
    """Return the last unit of the block that ends at a hole, and the first one of the next block.

    A unit that was misheard beside the hole stays with its block where letters of its length were heard there, up to the end of
    a clause if there is one: who leaves something out leaves out a clause.
    """
    between = spans[left.last + 1 : max(left.last + 1, right.first)]
    after, before = left.unit, right.unit
    if left.span == right.span:
        return after, before
    letters = sum(span == left.span for span in between) + 1
    while after + 1 < right.unit and len(units[after + 1]) <= letters:
        after += 1
        letters -= len(units[after])
    letters = sum(span == right.span for span in between) + 1
    while before - 1 > after and len(units[before - 1]) <= letters:
        before -= 1
        letters -= len(units[before])
    after = max((unit for unit in range(max(0, left.unit), after + 1) if unit in clauses), default=after)
    before = min((unit for unit in range(before, right.unit + 1) if unit - 1 in clauses and unit > after), default=before)
    return after, before
