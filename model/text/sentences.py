"""Divide a text into pieces that a voice can say at once: sentences, and parts of those that are too long for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SENTENCE_S, PARAGRAPH_S, CLAUSE_S = 0.35, 0.7, 0.2  # seconds of silence after a sentence, a paragraph, a part of a sentence
SHORT = 12  # characters: "No." is said with its neighbour, since attention finds no hold in so few symbols
_BREAKS = (r"(?<=[;:])\s+", r"(?<=,)\s+|\s+(?=[-–—]\s)", r"\s+")  # where a long sentence may be divided, the best places first


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, and the seconds of silence that follow it."""

    text: str
    pause_s: float


def pieces(text: str, language: str, longest: int) -> list[Piece]:
    """Divide a text into pieces of at most `longest` characters; a single word may be longer.

    Paragraphs have an empty line between them. language: the code of the text's language, whose abbreviations end no sentence.
    """
    paragraphs = (" ".join(lines.split()) for lines in re.split(r"\n\s*\n", text))  # files are often wrapped at some column
    found = [Piece(*pair) for paragraph in paragraphs for pair in _paragraph(paragraph, language, longest)]
    return [*found[:-1], Piece(found[-1].text, 0.0)] if found else []


def _paragraph(text: str, language: str, longest: int) -> Iterator[tuple[str, float]]:
    from sentencex import segment

    joined: list[str] = []
    for sentence in (part.strip() for part in segment(language, text)):
        if not sentence:
            continue
        if joined and min(len(joined[-1]), len(sentence)) < SHORT and len(joined[-1]) + 1 + len(sentence) <= longest:
            joined[-1] += f" {sentence}"
        else:
            joined.append(sentence)
    for index, sentence in enumerate(joined):
        *parts, last = _divided(sentence, longest, _BREAKS)
        yield from ((part, CLAUSE_S) for part in parts)
        yield last, PARAGRAPH_S if index == len(joined) - 1 else SENTENCE_S


def _divided(text: str, longest: int, breaks: tuple[str, ...]) -> list[str]:
    """Divide a sentence at the best places that make its parts short enough, and join short neighbours again."""
    if len(text) <= longest or not breaks:
        return [text]
    parts: list[str] = []
    for clause in re.split(breaks[0], text):
        for part in _divided(clause, longest, breaks[1:]):
            if parts and len(parts[-1]) + 1 + len(part) <= longest:
                parts[-1] += f" {part}"
            else:
                parts.append(part)
    return parts
