"""The languages: the one place that knows everything that differs from language to language.

To add a language: a module with its cleaner and its symbol table next to `english.py`, a file of sentences in
`model/data/sentences/`, and an entry in LANGUAGES. Loads only the standard library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model.text import english, russian

_SENTENCES = Path(__file__).parent.parent / "data" / "sentences"
_LATIN, _CYRILLIC = "aceopxykABCEHKMOPTXY", "асеорхукАВСЕНКМОРТХУ"  # letter by letter


@dataclass(frozen=True)
class Language:
    """A language that texts can be written in."""

    code: str  # the value of data.language
    symbols: tuple[str, ...]  # in the order of their ids; id 0 is the padding
    clean: Callable[[str], str]  # text -> text as a reader pronounces it, in characters that have a symbol
    voice: str  # espeak-ng's, for the built-in corpus
    sentences: Path  # of the built-in general corpus, one a line
    matrix: Path  # of the built-in limited domain: the words that may stand in a place of the sentence, one place a line
    alphabet: str = r"[^\W\d_]"  # a pattern of one of its letters
    lookalikes: tuple[str, str] = ("", "")  # letters of another alphabet, and letter by letter those that they look like

    @cached_property
    def letters(self) -> str:
        """The lower-case letters of the symbols, in alphabetical order."""
        return "".join(sorted({symbol.lower() for symbol in self.symbols if len(symbol) == 1 and symbol.isalpha()}))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Symbol -> id, without the padding."""
        return {symbol: index for index, symbol in enumerate(self.symbols) if index}


LANGUAGES = {
    language.code: language
    for language in (
        Language(
            code="en",
            symbols=english.SYMBOLS,
            clean=english.clean,
            voice="en-us",
            sentences=_SENTENCES / "en.txt",
            matrix=_SENTENCES / "en.matrix",
            alphabet="[A-Za-z]",
            lookalikes=(_CYRILLIC, _LATIN),
        ),
        Language(
            code="ru",
            symbols=russian.SYMBOLS,
            clean=russian.clean,
            voice="ru",
            sentences=_SENTENCES / "ru.txt",
            matrix=_SENTENCES / "ru.matrix",
            alphabet="[А-Яа-яЁё]",
            lookalikes=(_LATIN + "ëË", _CYRILLIC + "ёЁ"),
        ),
    )
}


def find_language(code: str) -> Language:
    """Return the language with this code. Raises ValueError for an unknown one."""
    if code not in LANGUAGES:
        raise ValueError(f"need one of {', '.join(LANGUAGES)}, got {code!r}: choose one of these languages")
    return LANGUAGES[code]
