"""Texts as people write them, with how they are read aloud: readings.en.tsv and readings.ru.tsv, one sentence a line.

Columns: kind; `first` (written before the code), `held` or `fresh` (written after it, and measured before any correction); the
text, with signs that cannot be seen as \\u escapes; its reading, and further right ones.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from model.text.frontend import decode, encode
from model.text.languages import find_language

FOLDER = Path(__file__).parent
_TOKEN = re.compile(r"[^\W\d_][^\W\d_+']*(?:[+'][^\W\d_]+)*|[^\s,;:()—–\"-]")


@dataclass(frozen=True, slots=True)
class Reading:
    """A sentence and what a reader may say."""

    kind: str
    written: str
    text: str
    right: tuple[str, ...]


def readings(code: str) -> list[Reading]:
    """Return all sentences of a language."""
    lines = (FOLDER / f"readings.{code}.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return [Reading(kind, written, _unescaped(text), tuple(right)) for kind, written, text, *right in rows]


def read(text: str, code: str) -> str:
    """Return what the network is shown of a text."""
    return decode(encode(text, find_language(code)))


def heard(text: str) -> list[str]:
    """Return what can be heard of a reading: its words and the ends of sentences inside it; commas and hyphens are silent."""
    found: list[str] = []
    for token in _TOKEN.findall(text.lower()):
        end = token in ".?!"
        if not end or (found and found[-1] != "."):
            found.append("." if end else token)
    return found[:-1] if found and found[-1] == "." else found


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)
