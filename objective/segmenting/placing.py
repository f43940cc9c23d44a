"""Place the units of a block in its speech: which span has which units, and between which spans the text may be divided."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

from objective.segmenting.aligning import Aligner
from objective.segmenting.cutting import Cut, Said, ends
from objective.segmenting.matching import Anchor, Block
from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording

WINDOW_S = 30.0  # from which on a block is divided at the next pause that is certain: an alignment grows with the square
MOST_S = 120.0  # of a window without such a pause, from which on only certain pauses are believed
BETTER = 2  # letters by which another border fits better, from which on a border is doubtful
OVERLAP_S = 0.1  # by which a word may reach beyond its speech: aligners' borders are not better


def place(
    aligner: Aligner,
    recording: Recording,
    spans: Sequence[Span],
    texts: Sequence[str],
    block: Block,
    found: Sequence[Anchor],
    certain: Mapping[int, int],
    letters: Sequence[str],
    heard: Sequence[str],
) -> list[Said]:
    """Return what is said in each span of a block. `texts` are those of all units; `certain` are joints of the anchors.

    letters: of the units, as they are compared. heard: the letters in each span. Where the alignment and what was heard divide
    the text differently at a pause, it is not cut there.
    """
    said: list[Said] = []
    for window in windows(block, spans, certain):
        part = ends(Cut(window.first_span, window.last_span, 0, 0), spans, recording.seconds)
        speech = spans[window.first_span : window.last_span + 1]
        inside = texts[window.first_unit : window.last_unit + 1]
        placed = None
        if len(speech) > 1 and part.end_s - part.start_s <= MOST_S:
            placed = aligner.place(recording, part, speech, inside)
        said += by_anchors(window, found, certain) if placed is None else by_times(window, placed, speech)
    agreed = [not doubtful(left, right, letters, heard) for left, right in pairwise(said)]
    return [one._replace(cut_behind=one.cut_behind and agrees) for one, agrees in zip(said, [*agreed, True], strict=True)]


def doubtful(left: Said, right: Said, letters: Sequence[str], heard: Sequence[str]) -> bool:
    """Return True if what was heard on both sides of a pause fits better with one unit more on one side."""

    def errors(border: int) -> int:
        pairs = ((left.first, border, left.span), (border, right.last + 1, right.span))
        return sum(Levenshtein.distance("".join(letters[first:last]), heard[span]) for first, last, span in pairs)

    others = [border for border in (right.first - 1, right.first + 1) if left.first <= border <= right.last + 1]
    return any(errors(border) + BETTER <= errors(right.first) for border in others)


def windows(block: Block, spans: Sequence[Span], certain: Mapping[int, int]) -> list[Block]:
    """Divide a block at certain pauses into windows of about WINDOW_S."""
    found: list[Block] = []
    first_unit, first_span = block.first_unit, block.first_span
    for span in range(block.first_span, block.last_span):
        if span in certain and spans[span + 1].end_s - spans[first_span].start_s > WINDOW_S and certain[span] > first_unit:
            found.append(Block(first_unit, certain[span] - 1, first_span, span))
            first_unit, first_span = certain[span], span + 1
    return [*found, Block(first_unit, block.last_unit, first_span, block.last_span)]


def by_times(window: Block, placed: Sequence[Span], speech: Sequence[Span]) -> list[Said]:
    """Give each unit to the span that it is nearest to; a unit that reaches from one into another joins the two."""
    middles = [(unit.start_s + unit.end_s) / 2 for unit in placed]
    borders = [(left.end_s + right.start_s) / 2 for left, right in pairwise(speech)]
    said: list[Said] = []
    first = 0
    for index, span in enumerate(speech):
        last_span = index == len(borders)
        end = len(placed) if last_span else sum(middle < borders[index] for middle in middles)
        reaches_s = max((unit.end_s for unit in placed[:end]), default=0.0) - OVERLAP_S
        begins_s = min((unit.start_s for unit in placed[end:]), default=span.end_s) + OVERLAP_S
        clean = last_span or (reaches_s <= speech[index + 1].start_s and begins_s >= span.end_s)
        said.append(Said(window.first_span + index, window.first_unit + first, window.first_unit + end - 1, clean))
        first = end
    return said


def by_anchors(window: Block, found: Sequence[Anchor], certain: Mapping[int, int]) -> list[Said]:
    """Divide at certain pauses alone; between those the last unit of a span is a guess, which no cut relies on."""
    said: list[Said] = []
    first = window.first_unit
    for span in range(window.first_span, window.last_span):
        known = [unit for unit, at, *_ in found if at <= span and window.first_unit <= unit <= window.last_unit]
        last = certain[span] - 1 if span in certain else max([first, *known])
        said.append(Said(span, first, min(last, window.last_unit), span in certain))
        first = min(last + 1, window.last_unit)
    return [*said, Said(window.last_span, first, window.last_unit, True)]
