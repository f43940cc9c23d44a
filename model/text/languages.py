"""The languages: the one place that knows everything that differs from language to language.

To add a language: a module with its cleaner and its symbol table next to `english.py`, a file of sentences in
`model/data/sentences/`, and an entry in LANGUAGES. Loads only the standard library.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from model.text import english, phonemes, russian, stress

Input = Literal["letters", "phonemes"]
Stress = Literal["none", "silero"]

_SENTENCES = Path(__file__).parent.parent / "data" / "sentences"
_LATIN, _CYRILLIC = "aceopxykABCEHKMOPTXY", "асеорхукАВСЕНКМОРТХУ"  # letter by letter


@dataclass(frozen=True)
class Language:
    """A language that texts can be written in, and how a network reads them."""

    code: str  # the value of data.language
    symbols: tuple[str, ...]  # in the order of their ids; id 0 is the padding
    clean: Callable[[str], str]  # text -> text as a reader pronounces it, in characters that have a symbol
    voice: str  # espeak-ng's, for the built-in corpus
    sentences: Path  # of the built-in general corpus, one a line
    matrix: Path  # of the built-in limited domain: the words that may stand in a place of the sentence, one place a line
    alphabet: str = r"[^\W\d_]"  # a pattern of one of its letters
    lookalikes: tuple[str, str] = ("", "")  # letters of another alphabet, and letter by letter those that they look like
    input: Input = "letters"  # what the symbols stand for
    stress: Stress = "none"  # what puts stress marks into a text
    written: tuple[str, ...] = ()  # the symbols of the letters, where the network reads phonemes
    phonemise: Callable[[str], str] | None = None  # cleaned text -> its phonemes; None: the network reads letters

    @cached_property
    def letters(self) -> str:
        """The lower-case letters that texts are spelled with, in alphabetical order."""
        written = self.written or self.symbols
        return "".join(sorted({symbol.lower() for symbol in written if len(symbol) == 1 and symbol.isalpha()}))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Symbol -> id, without the padding."""
        return {symbol: index for index, symbol in enumerate(self.symbols) if index}

    @cached_property
    def spelling(self) -> frozenset[str]:
        """The symbols of letters and punctuation, without the padding."""
        return frozenset((self.written or self.symbols)[1:])


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


_PHONEMES = {"en": (phonemes.ENGLISH, phonemes.english), "ru": (phonemes.RUSSIAN, phonemes.russian)}


def find_language(code: str, input: str = "letters", stress: str = "none") -> Language:
    """Return the language with this code, read as letters or phonemes, with stress marks or without. Raises ValueError."""
    if code not in LANGUAGES:
        raise ValueError(f"need one of {', '.join(LANGUAGES)}, got {code!r}: choose one of these languages")
    language = LANGUAGES[code]
    if stress == "silero":
        if code != "ru":
            raise ValueError(f"stress=silero is for language=ru, got language={code}: leave stress out")
        language = replace(language, stress="silero", clean=_clean_and_mark)
    elif stress != "none":
        raise ValueError(f"need stress none or silero, got {stress!r}: choose one of them")
    if input == "phonemes":
        symbols, phonemise = _PHONEMES[code]
        language = replace(language, input="phonemes", written=language.symbols, symbols=symbols, phonemise=phonemise)
    elif input != "letters":
        raise ValueError(f"need input letters or phonemes, got {input!r}: choose one of them")
    return language


def _clean_and_mark(text: str) -> str:
    return stress.marked(russian.clean(text))
