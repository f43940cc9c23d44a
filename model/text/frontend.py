"""Text -> symbol ids and back. Characters that no symbol stands for are reported as `dropped`, never lost silently."""

import re
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass

from model.text.languages import Language
from model.text.lookalikes import correct_lookalikes
from model.text.normalise import strip_invisible

_TOKEN = re.compile(r"\{[^{}]*\}|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as ids of the symbols of `language`, which spell it or its phonemes."""

    ids: tuple[int, ...]
    text: str  # cleaned, without what is dropped
    dropped: str  # the characters of the cleaned text, and of its phonemes, that no symbol stands for, in order
    language: Language
    corrected: tuple[str, ...] = ()  # words as written, with letters of another alphabet in the place of look-alikes
    length: int = 0  # symbols that spell `text`: the length of a text, whatever the network reads

    @property
    def lost(self) -> str:
        """The letters and digits among the dropped characters: speech that the network would not be shown."""
        return "".join(filter(str.isalnum, self.dropped))


def encode(text: str, language: Language) -> Encoded:
    """Clean `text` and look up its symbols. No start or end symbol is added; an empty text gives no ids.

    A sign that is dropped between two letters leaves a space. The padding symbol `_` is never encoded. Phonemes are those of
    the text without what is dropped. Raises BadInput where they cannot be read.
    """
    text, corrected = correct_lookalikes(strip_invisible(unicodedata.normalize("NFC", text)), language)
    cleaned = language.clean(text)
    if "{" not in cleaned and language.spelling >= set(cleaned):
        symbols, dropped = list(cleaned), ""
    else:
        symbols, dropped = _known(cleaned, language.spelling)
    text, length = _spelt(symbols), len(symbols)
    if language.phonemise is not None:
        spoken = language.phonemise(text)
        symbols = [phoneme for phoneme in spoken if phoneme in language.ids]
        dropped += "".join(phoneme for phoneme in spoken if phoneme not in language.ids)
    return Encoded(tuple(map(language.ids.__getitem__, symbols)), text, dropped, language, corrected, length)


def _known(cleaned: str, ids: Container[str]) -> tuple[list[str], str]:
    """Return the symbols of a cleaned text, and the characters that no symbol stands for."""
    symbols: list[str] = []
    dropped: list[str] = []
    border = False  # a sign was dropped behind the last symbol
    for token in _TOKEN.findall(cleaned):
        phones = [f"@{phone}" for phone in token[1:-1].split()]
        if phones and all(phone in ids for phone in phones):
            symbols += phones
            continue
        for character in token:
            if character not in ids:
                dropped.append(character)
                border |= not character.isalnum()
                continue
            if border and symbols and symbols[-1].isalpha() and character.isalpha():
                symbols.append(" ")
            if character != " " or (symbols and symbols[-1] != " "):
                symbols.append(character)
            border = False
    if symbols and symbols[-1] == " ":
        symbols.pop()
    return symbols, "".join(dropped)


def decode(encoded: Encoded) -> str:
    """Return the text or the phonemes that the ids spell, ARPAbet in braces. Raises ValueError for an unknown id."""
    table = encoded.language.symbols
    outside = [index for index in encoded.ids if not 0 <= index < len(table)]
    if outside:
        rule = f"need ids from 0 to {len(table) - 1} for {encoded.language.code!r}, got {outside[0]}"
        raise ValueError(f"{rule}: decode them with the language they were encoded in")
    return _spelt([table[index] for index in encoded.ids])


def _spelt(symbols: Sequence[str]) -> str:
    return "".join(f"{{{symbol[1:]}}}" if symbol.startswith("@") else symbol for symbol in symbols).replace("}{", " ")
