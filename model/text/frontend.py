"""Text -> symbol ids and back. What no symbol stands for is handed back as `dropped`: nothing is lost in silence."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from model.text import english, russian
from model.text.symbols import symbols

_CLEANERS = {"en": english.clean, "ru": russian.clean}
_TOKEN = re.compile(r"\{[^{}]*\}|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Without `dropped`, `text` is what the ids spell."""

    ids: tuple[int, ...]
    text: str  # cleaned
    dropped: str  # the characters of `text` that no symbol stands for, in order


def encode(text: str, language: str) -> Encoded:
    """Clean `text` and look its symbols up. No end or start symbol is added; an empty text gives no ids.

    The padding symbol `_` is never encoded. ValueError for an unknown language.
    """
    ids_of = _ids_of(language)
    cleaned = _CLEANERS[language](text)
    ids: list[int] = []
    dropped: list[str] = []
    for token in _TOKEN.findall(cleaned):
        phones = [f"@{phone}" for phone in token[1:-1].split()]
        if phones and all(phone in ids_of for phone in phones):
            ids += (ids_of[phone] for phone in phones)
            continue
        for character in token:
            if character in ids_of:
                ids.append(ids_of[character])
            else:
                dropped.append(character)
    return Encoded(tuple(ids), cleaned, "".join(dropped))


def decode(ids: Iterable[int], language: str) -> str:
    """What `ids` spell, ARPAbet in braces. ValueError for an id outside the table or an unknown language."""
    table = symbols(language)
    ids = tuple(ids)
    outside = [index for index in ids if not 0 <= index < len(table)]
    if outside:
        raise ValueError(
            f"need ids from 0 to {len(table) - 1} for {language!r}, got {outside[0]}: decode them in their own language"
        )
    spelt = (table[index] for index in ids)
    return "".join(f"{{{symbol[1:]}}}" if symbol.startswith("@") else symbol for symbol in spelt).replace("}{", " ")


@cache
def _ids_of(language: str) -> dict[str, int]:
    return {symbol: index for index, symbol in enumerate(symbols(language)) if symbol != "_"}
