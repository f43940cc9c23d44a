"""Text -> symbol ids and back. Characters that no symbol stands for are reported as `dropped`, never lost silently."""

import re
from dataclasses import dataclass

from model.text.languages import Language

_TOKEN = re.compile(r"\{[^{}]*\}|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as ids of the symbols of `language`. Where nothing is dropped, the ids spell `text`."""

    ids: tuple[int, ...]
    text: str  # cleaned
    dropped: str  # the characters of `text` that no symbol stands for, in order
    language: Language


def encode(text: str, language: Language) -> Encoded:
    """Clean `text` and look up its symbols. No start or end symbol is added; an empty text gives no ids.

    The padding symbol `_` is never encoded.
    """
    ids_of = language.ids
    cleaned = language.clean(text)
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
    return Encoded(tuple(ids), cleaned, "".join(dropped), language)


def decode(encoded: Encoded) -> str:
    """Return the text that the ids spell in their own language, ARPAbet in braces. Raises ValueError for an unknown id."""
    table = encoded.language.symbols
    outside = [index for index in encoded.ids if not 0 <= index < len(table)]
    if outside:
        rule = f"need ids from 0 to {len(table) - 1} for {encoded.language.code!r}, got {outside[0]}"
        raise ValueError(f"{rule}: decode them with the language they were encoded in")
    spelt = (table[index] for index in encoded.ids)
    return "".join(f"{{{symbol[1:]}}}" if symbol.startswith("@") else symbol for symbol in spelt).replace("}{", " ")
