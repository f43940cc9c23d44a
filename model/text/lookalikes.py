"""Correct letters of another alphabet that look like a language's own, as texts from two keyboards or from OCR have them."""

import re

from model.text.languages import Language

_CAPITALS = "ABCKOYАВСКОУ"  # words of one letter: the article, and Russian prepositions and conjunctions
_WORD = re.compile(r"[^\W\d_]+")


def correct_lookalikes(text: str, language: Language) -> tuple[str, tuple[str, ...]]:
    """Replace foreign letters inside words by those of the language; return the text and the corrected words as written.

    A word is corrected if it has letters of the language, and each foreign one looks like one of them. A word of a single small
    letter, such as a Latin "c" before a Russian noun, is corrected, too, and a capital at the beginning of the text. Whole
    foreign words stay as they are.
    """
    foreign, like = language.lookalikes
    if not any(letter in text for letter in foreign):
        return text, ()
    table, own = str.maketrans(foreign, like), re.compile(language.alphabet)
    written_in_it = own.search(text) is not None
    found: list[str] = []

    def corrected(match: re.Match[str]) -> str:
        word = match[0]
        replaced = word.translate(table)
        mixed = own.search(word) and all(map(own.match, replaced))
        alone = (
            written_in_it
            and len(word) == 1
            and word in foreign
            and (word.islower() or (match.start() == 0 and word in _CAPITALS))
        )
        if replaced == word or not (mixed or alone):
            return word
        found.append(word)
        return replaced

    return _WORD.sub(corrected, text), tuple(found)
