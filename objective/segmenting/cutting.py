"""Choose where to cut: in pauses between which the text is known, at ends of sentences if possible."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from objective.segmenting.pauses import Span

MARGIN_S = 0.25  # of a pause that stays with the speech beside it, at most
INSIDE_S = 1.0  # the longest pause inside a cut: what is longer may hold anything
CUT, NO_SENTENCE, TOO_SHORT, LOST = 1.0, 1.5, 10.0, 100.0  # costs, the last one for a second of a cut that is too long


class Said(NamedTuple):
    """Speech, and the units that are said in it, the last one included; none where `last` is before `first`."""

    span: int
    first: int
    last: int
    cut_behind: bool  # the pause behind it is certain to lie between two units


class Cut(NamedTuple):
    """Speech that is cut out in one piece."""

    first_span: int
    last_span: int
    first_unit: int
    last_unit: int


def choose_cuts(
    said: Sequence[Said],
    spans: Sequence[Span],
    shortest_s: float,
    longest_s: float,
    ends_sentence: Callable[[int], bool],
) -> list[Cut]:
    """Divide the speech of a block, each part of it once. What cannot be divided makes cuts that are too long or too short."""
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first parts: cost, and where the last cut begins
    for end in range(1, len(said) + 1):
        options = [(float("inf"), end - 1)]
        for begin in range(end - 1, -1, -1):
            if (begin and not said[begin - 1].cut_behind) or (end < len(said) and not said[end - 1].cut_behind):
                continue
            cost = CUT + NO_SENTENCE * (not ends_sentence(said[end - 1].last))
            seconds, pause_s = length(said[begin].span, said[end - 1].span, spans)
            cost += TOO_SHORT * (seconds < shortest_s) + LOST * seconds * (seconds > longest_s or pause_s > INSIDE_S)
            options.append((best[begin][0] + cost, begin))
        best.append(min(options))
    cuts: list[Cut] = []
    end = len(said)
    while end:
        begin = best[end][1]
        cuts.append(Cut(said[begin].span, said[end - 1].span, said[begin].first, said[end - 1].last))
        end = begin
    return cuts[::-1]


def length(first: int, last: int, spans: Sequence[Span]) -> tuple[float, float]:
    """Return the seconds from the first span's beginning to the last one's end, and those of the longest pause between."""
    pauses = [right.start_s - left.end_s for left, right in pairwise(spans[first : last + 1])]
    return spans[last].end_s - spans[first].start_s, max(pauses, default=0.0)


def ends(cut: Cut, spans: Sequence[Span], total_s: float) -> Span:
    """Return where to cut: in the pauses at both ends, at most MARGIN_S from the speech, no nearer to other speech."""
    start, end = spans[cut.first_span].start_s, spans[cut.last_span].end_s
    before = spans[cut.first_span - 1].end_s if cut.first_span else -start
    behind = spans[cut.last_span + 1].start_s if cut.last_span + 1 < len(spans) else 2 * total_s - end
    return Span(max(0.0, start - MARGIN_S, (before + start) / 2), min(total_s, end + MARGIN_S, (end + behind) / 2))
