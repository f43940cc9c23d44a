"""Russian: 33 letters (ё kept apart from е) with `+` before a stressed vowel, and a cleaner that spells out numbers and
abbreviations as a reader pronounces them.

The library ru-normalizr does most of it; `russian_figures` and `russian_words` have what it lacks.
"""

import re
import unicodedata
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from model.text.normalise import PUNCTUATION, collapse_whitespace, fold_punctuation

SYMBOLS = (*PUNCTUATION, *"абвгдеёжзийклмнопрстуфхцчшщъыьэюя+")  # + is the stress mark, before the stressed vowel

_VOWELS = "аеёиоуыэюяАЕЁИОУЫЭЮЯ"
_ACUTE = re.compile(rf"([{_VOWELS}])\u0301")
_STRESS = re.compile(rf"(?<![0-9])[+](?=[{_VOWELS}][а-яёА-ЯЁ]|[{_VOWELS}](?![а-яёА-ЯЁ]))")
_STRAY_PLUS = re.compile(rf"[+](?![{_VOWELS}])")
_WORD = re.compile(r"[а-яё]+(?:[+][а-яё]+)*|[+][а-яё]+(?:[+][а-яё]+)*", re.IGNORECASE)

# What a reader does not say as it is written: digits, signs, Latin letters (Roman numerals), capitals in a row, and a dot that
# does not end the sentence. The library takes milliseconds for a line, so lines without any of these are not shown to it.
_UNSPOKEN = re.compile(
    r"[0-9A-Za-z%№§°₽$€£¥=×÷±²³/@#&½¼¾]|[А-ЯЁ]{2}|\b[А-ЯЁа-яё]{1,6}\.(?!\s*$)|\.[^\s.]"
    r"|\b(?:[бвгджзклмнпрстфхцчшщ]{1,4}|руб|коп|тыс|долл|обл|чел|мин|сек|экз)\."
)
_HYPHENED = re.compile(r"(?i:\b(?:р-н|б-р|з-д|м-н|ф-[тк]|пр-к?т|[иу]н-т|кол-в|изд-в|об-в|хоз-в|гос-в|г-[ндж]|д-р|гр-[нк]))")
_SLASH = re.compile(r"(?<=[а-яё]) ?/ ?(?=[а-яё])")  # has no sound between words
_ROMAN = re.compile(r"[A-Za-z]|\b[ХІСМ]+\b")
# ru-normalizr spells Latin abbreviations ("USB" is "ю эс би"). One that may be Cyrillic as well is left alone, and reported.
_EITHER = re.compile(r"\b(?![IVXLCM]+\b)[ABCEHKMOPTXY]{2,}\b")


def clean(text: str) -> str:
    """Turn text into lower case, write an acute accent as `+` before its vowel, spell out numbers and abbreviations.

    Other scripts stay. A `+` that is neither a stress mark nor a part of a sum becomes a full-width plus, which has no symbol,
    so that the front end reports it.
    """
    text = collapse_whitespace(fold_punctuation(unicodedata.normalize("NFC", text)))
    text = _ACUTE.sub(r"+\1", text)
    if _UNSPOKEN.search(text) or ("-" in text and _HYPHENED.search(text)):
        text = _restore_stress(text, _spell_out(_STRESS.sub("", text)))
    return collapse_whitespace(_STRAY_PLUS.sub("＋", text).lower())


def _spell_out(text: str) -> str:
    from model.text.russian_figures import correct_numerals, expand_figures
    from model.text.russian_words import expand_abbreviations

    text = expand_figures(expand_abbreviations(_EITHER.sub(lambda match: match[0].lower(), text)))
    if _UNSPOKEN.search(text):
        text = correct_numerals(_normaliser(roman=_ROMAN.search(text) is not None).normalize(text))
    return fold_punctuation(_SLASH.sub(" ", text))


@cache
def _normaliser(roman: bool) -> Any:
    """Return the library's normaliser. The stage for Roman numerals takes three quarters of its time."""
    from ru_normalizr import NormalizeOptions, Normalizer

    return Normalizer(
        NormalizeOptions(
            enable_roman_normalization=roman,
            enable_math_normalization=True,
            enable_letter_abbreviation_expansion=True,
            enable_initials_expansion=True,
            letter_vowel_mode="single",
            initials_pause_mode="preserve",
        )
    )


def _restore_stress(written: str, spoken: str) -> str:
    """Put the stress marks of `written` back on the same words of `spoken`: what a person marked is right."""
    if "+" not in written:
        return spoken
    marked = _WORD.findall(written)
    found = list(_WORD.finditer(spoken))
    before, after = [word.replace("+", "").lower() for word in marked], [match[0].replace("+", "").lower() for match in found]
    pieces: list[str] = []
    end = 0
    for start, other, length in SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks():
        for offset in range(length):
            match = found[other + offset]
            pieces += (spoken[end : match.start()], marked[start + offset])
            end = match.end()
    return "".join((*pieces, spoken[end:]))
