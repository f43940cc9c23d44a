"""A transcript: its text as it is written, and the letters that are read for each part of it.

Numbers and abbreviations are read as words ("1984" as "nineteen eighty-four"), by the same rules as the texts of a corpus.
Units lead back from what is read to what is written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from model.data.layouts.rows import decode
from model.errors import BadInput
from model.listener import spelled
from model.text.frontend import encode
from model.text.languages import Language
from model.text.sentences import pieces

PART = 400  # characters that are read at once
SECTION_S = 3.0  # between two subtitles, from which on the text between them is somewhere else in the sound
_TIME = r"((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})"
_CUE = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}.*$")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_SENTENCE = re.compile(r"[.!?…][\"'»”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest part of a text whose reading is known: a word, or a number with what depends on it."""

    start: int  # in the text
    end: int
    read: str  # as letters and spaces


@dataclass(frozen=True, slots=True)
class Section:
    """Units, and the seconds of the recording in which they are said."""

    first: int
    last: int  # behind the last unit
    start_s: float = 0.0
    end_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Transcript:
    """A text with its units and sections, which cover it in order."""

    text: str
    units: tuple[Unit, ...]
    sections: tuple[Section, ...]

    def written(self, first: int, last: int) -> str:
        """Return the text of the units `first` to `last`, as it was written."""
        return self.text[self.units[first].start : self.units[last].end]

    def ends_sentence(self, unit: int) -> bool:
        return bool(_SENTENCE.search(self.written(unit, unit)))

    def ends_clause(self, unit: int) -> bool:
        return self.written(unit, unit)[-1] in ".,;:!?…-–—)\"'»”’"


def read(path: Path, language: Language) -> Transcript:
    """Read a transcript. Raises BadInput for a file that is none, or has no text in the language."""
    if not path.is_file():
        raise BadInput(f"need a transcript, got {path}, which is no file: check the path")
    text, _ = decode(path)
    if re.search("[\ud800-\udfff]", text):  # which stand for bytes that are not UTF-8
        raise BadInput(f"{path}: need a transcript in UTF-8, got other bytes: convert it, for example with iconv -t utf-8")
    cues = subtitles(text) if path.suffix.lower() in (".srt", ".vtt") else [(text, 0.0, float("inf"))]
    found = transcript(cues, language)
    if not found.units:
        raise BadInput(f"{path}: need a text in {language.code!r}, got no word of it: check --language and the file")
    return found


def transcript(parts: Sequence[tuple[str, float, float]], language: Language) -> Transcript:
    """Return the transcript of parts with text, start and end in seconds; neighbours in time become a section."""
    text = ""
    units: list[Unit] = []
    sections: list[Section] = []
    for joined, start_s, end_s in _neighbours(parts):
        first = len(units)
        for piece in pieces(joined.replace("|", " "), language.code, PART):  # which separates the columns of a list
            text += " " if text else ""
            units += read_units(piece.text, language, len(text))
            text += piece.text
        if len(units) > first:
            sections.append(Section(first, len(units), start_s, end_s))
    return Transcript(text, tuple(units), tuple(sections))


def read_units(text: str, language: Language, offset: int = 0) -> list[Unit]:
    """Return the units of a text, whose first character has the index `offset`; signs belong to the unit before them."""
    tokens = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    written = [spelled(text[start:end], language) for start, end in tokens]
    words = [spelled(word, language) for word in encode(text, language).text.split()]
    groups: list[tuple[int, int, str]] = []  # tokens from, to, as read
    for kind, i, end, j, behind in SequenceMatcher(None, written, words, autojunk=False).get_opcodes():
        if kind == "equal":
            groups += [(i + step, i + step + 1, words[j + step]) for step in range(end - i)]
        else:
            groups.append((i, end, " ".join(filter(None, words[j:behind]))))
    units: list[Unit] = []
    before = 0  # the first token that belongs to no unit yet
    for _, end, letters in groups:
        if letters and end > before:
            units.append(Unit(offset + tokens[before][0], offset + tokens[end - 1][1], letters))
            before = end
        elif units:
            last = units[-1]
            reaches = tokens[end - 1][1] + offset if end > before else last.end
            units[-1] = Unit(last.start, reaches, f"{last.read} {letters}".strip())
            before = max(before, end)
    return units


def subtitles(text: str) -> list[tuple[str, float, float]]:
    """Return the cues of SubRip or WebVTT: text, start and end in seconds. A line that a cue repeats is said once."""
    cues: list[tuple[str, float, float]] = []
    said = ""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        at = next((index for index, line in enumerate(lines[:2]) if _CUE.match(line)), None)
        if at is None:
            continue
        times = _CUE.match(lines[at])
        assert times is not None
        kept = []
        for line in (" ".join(_MARKUP.sub("", line).split()) for line in lines[at + 1 :]):
            if line and line != said:
                kept.append(line)
                said = line
        if kept:
            cues.append((" ".join(kept), _seconds(times[1]), _seconds(times[2])))
    return sorted(cues, key=lambda cue: cue[1])


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def _neighbours(parts: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    found: list[tuple[str, float, float]] = []
    for text, start_s, end_s in parts:
        if found and start_s - found[-1][2] < SECTION_S:
            found[-1] = (f"{found[-1][0]} {text}", found[-1][1], max(end_s, found[-1][2]))
        else:
            found.append((text, start_s, end_s))
    return found
