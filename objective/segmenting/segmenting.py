"""Segment one recording, whose speech is known: hear it, match it with the transcript, cut, and judge every cut."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from objective.segmenting.aligning import Aligner, Word
from objective.segmenting.checking import error_of, torn
from objective.segmenting.cutting import INSIDE_S, Cut, Said, choose_cuts, ends, length
from objective.segmenting.matching import anchors, blocks, joints
from objective.segmenting.pauses import Span, stretches
from objective.segmenting.placing import place
from objective.segmenting.recording import Recording
from objective.segmenting.transcript import Section, Transcript
from objective.trial.corpus import Told

NEAR_S = 1.5  # by which subtitles may be early or late


@dataclass(frozen=True, slots=True)
class Piece:
    """A cut with its text, or speech that has none; kept if there is no reason against it."""

    start_s: float
    end_s: float
    text: str
    heard: str
    error: float | None = None  # character error rate; None without a text
    reason: str = ""

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Segmented:
    """The pieces of a recording in order, and the parts of the transcript that were not heard in it."""

    pieces: tuple[Piece, ...]
    unheard: tuple[str, ...]


def segment(
    recording: Recording, spans: Sequence[Span], transcript: Transcript, aligner: Aligner, shortest_s: float, longest_s: float,
    told: Told,
) -> Segmented:  # fmt: skip
    """Cut a recording with the speech `spans`, and judge all but the errors of the cuts, for which a level is needed.

    The level follows from all cuts (checking.level_of).
    """
    name = recording.path.name
    by_section: dict[int, list[int]] = {index: [] for index in range(len(transcript.sections))}
    pieces: list[Piece] = []
    for index, span in enumerate(spans):
        section = _section_of(span, transcript.sections)
        if section is None:
            pieces.append(Piece(*ends(Cut(index, index, 0, 0), spans, recording.seconds), "", "", None, "no subtitle here"))
        else:
            by_section[section].append(index)
    used: set[int] = set()  # units
    for section, indices in by_section.items():
        mine = [spans[index] for index in indices]
        words: list[Word] = []
        for stretch in stretches(mine):
            part = ends(Cut(stretch.start, stretch.stop - 1, 0, 0), mine, recording.seconds)
            words += aligner.hear(recording, part, mine[stretch.start : stretch.stop])
            told(f"listening to {name}", mine[stretch.stop - 1].end_s, recording.seconds)
        found, units = _pieces(
            recording, transcript, transcript.sections[section], aligner, mine, words, shortest_s, longest_s, told
        )
        pieces += found
        used |= units
    absent = [unit for unit in range(len(transcript.units)) if unit not in used]
    runs = [[unit for _, unit in run] for _, run in groupby(enumerate(absent), key=lambda pair: pair[1] - pair[0])]
    unheard = tuple(transcript.written(run[0], run[-1]) for run in runs)
    return Segmented(tuple(sorted(pieces, key=lambda piece: piece.start_s)), unheard)


def _section_of(span: Span, sections: Sequence[Section]) -> int | None:
    """Return the section that speech belongs to; None where no subtitle is near."""
    middle = (span.start_s + span.end_s) / 2
    away = [max(section.start_s - middle, middle - section.end_s, 0.0) for section in sections]
    nearest = min(range(len(sections)), key=away.__getitem__)
    return nearest if away[nearest] <= NEAR_S else None


def _pieces(
    recording: Recording, transcript: Transcript, section: Section, aligner: Aligner, spans: Sequence[Span],
    words: Sequence[Word], shortest_s: float, longest_s: float, told: Told,
) -> tuple[list[Piece], set[int]]:  # fmt: skip
    """Return the pieces of a section, and its units that have a place in them."""
    if not spans:
        return [], set()
    texts = [unit.read for unit in transcript.units[section.first : section.last]]
    letters = [folded(text) for text in texts]
    heard, owners = heard_letters(words, spans)
    found = anchors(heard, owners, letters)
    certain = joints(found)
    cuts: list[Cut] = []
    placed: set[int] = set()
    clauses = {unit for unit in range(len(texts)) if transcript.ends_clause(section.first + unit)}
    matched = blocks(found, heard, owners, letters, clauses)
    by_span = [""] * len(spans)
    for letter, owner in zip(heard, owners, strict=True):
        by_span[owner] += letter
    for block in matched:
        said = place(aligner, recording, spans, texts, block, found, certain, letters, by_span)
        told(f"placing the words of {recording.path.name}", spans[block.last_span].end_s, recording.seconds)
        for has_text, run in groupby(said, key=lambda one: one.last >= one.first):
            if has_text:
                parts: list[Said] = list(run)
                cuts += choose_cuts(
                    parts, spans, shortest_s, longest_s, lambda unit: transcript.ends_sentence(section.first + unit)
                )
    pieces: list[Piece] = []
    covered: set[int] = set()
    for cut in cuts:
        pieces.append(_judged(cut, recording, transcript, section, letters, spans, words, shortest_s, longest_s))
        covered |= set(range(cut.first_span, cut.last_span + 1))
        placed |= set(range(section.first + cut.first_unit, section.first + cut.last_unit + 1))
    for index in sorted(set(range(len(spans))) - covered):
        at = ends(Cut(index, index, 0, 0), spans, recording.seconds)
        pieces.append(Piece(*at, "", _heard_in(at, words), None, "not in the transcript"))
    return pieces, placed


def _judged(
    cut: Cut, recording: Recording, transcript: Transcript, section: Section, letters: Sequence[str], spans: Sequence[Span],
    words: Sequence[Word], shortest_s: float, longest_s: float,
) -> Piece:  # fmt: skip
    at = ends(cut, spans, recording.seconds)
    text = "".join(letters[cut.first_unit : cut.last_unit + 1])
    heard = _heard_in(at, words)
    piece = Piece(
        *at,
        transcript.written(section.first + cut.first_unit, section.first + cut.last_unit),
        heard,
        error_of(text, folded(heard)),
    )
    seconds, pause_s = length(cut.first_span, cut.last_span, spans)
    if seconds > longest_s:
        return replace(piece, reason=f"{seconds:.1f} s without a pause between two words, need at most {longest_s:g} s")
    if seconds < shortest_s:
        return replace(piece, reason=f"{seconds:.1f} s, need at least {shortest_s:g} s")
    if pause_s > INSIDE_S:
        return replace(piece, reason=f"a pause of {pause_s:.1f} s inside, need at most {INSIDE_S:g} s")
    return replace(piece, reason=torn(text, folded(heard)))


def heard_letters(words: Sequence[Word], spans: Sequence[Span]) -> tuple[str, list[int]]:
    """Return the letters of all words in one row, and for each the span that its word is nearest to."""
    borders = [(left.end_s + right.start_s) / 2 for left, right in pairwise(spans)]
    heard, owners = "", []
    for word in words:
        letters = folded(word.letters)
        heard += letters
        owners += [bisect.bisect(borders, word.middle_s)] * len(letters)
    return heard, owners


def folded(letters: str) -> str:
    """Return letters as they are compared: without spaces, and ё, which few write, as е."""
    return letters.replace(" ", "").replace("ё", "е")


def _heard_in(at: Span, words: Sequence[Word]) -> str:
    return " ".join(word.letters for word in words if at.start_s <= word.middle_s < at.end_s)
