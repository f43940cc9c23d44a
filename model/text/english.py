"""English: the symbol table of NVIDIA/tacotron2, and a cleaner that turns text into the words that a reader pronounces.

The cleaner does what NVIDIA's `english_cleaners` do and more, but does not transliterate other scripts.
"""

import re
import unicodedata

from model.text.addresses import read_addresses
from model.text.english_abbreviations import expand_abbreviations
from model.text.english_dates import expand_dates
from model.text.english_numbers import expand_numbers
from model.text.english_quantities import expand_feet, expand_quantities
from model.text.normalise import PUNCTUATION, collapse_whitespace, fold_punctuation

_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CMUDICT = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
ARPABET = tuple(
    phone + stress for phone in _CMUDICT.split() for stress in (("", "0", "1", "2") if phone[0] in "AEIOU" else ("",))
)
# NVIDIA's 148 symbols in NVIDIA's order, so that its weights fit. ARPAbet is written as @AA0.
SYMBOLS = (*PUNCTUATION, *_LATIN, *(f"@{phone}" for phone in ARPABET))

_PHONE = f"(?:{'|'.join(ARPABET)})"
_BRACED = re.compile(rf"((?:\{{\s*{_PHONE}(?:\s+{_PHONE})*\s*\}})+)")  # {HH AH0 L OW1}, adjacent braces together

_PLACE = "\ue000"  # of a braced run while the words around it are cleaned

# Latin letters that Unicode does not split into a letter and its accents.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i", "ﬁ": "fi", "ﬂ": "fl", "ẞ": "SS"}
)
_FRACTIONS = re.compile(r"(?<=([0-9]))?[¼-¾⅐-⅞]")
_FIGURES = re.compile(r"[0-9&=+~#@§×±÷/$£€¢²³]")
_ACCENTS = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")

_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark", "=": "equals",
}  # fmt: skip
_SEAM = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=(?!(?:s|st|nd|rd|th)\b)[a-z])")  # between a letter and a digit
_MATHS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\s*&\s*", " and "), (r"\s*=\s*", " equals "), (r" ?× ?", " times "), (r" ?÷ ?", " divided by "),
        (r"(?:#|№) ?(?=[0-9])", "number "), (r"(?<![\w+]) ?[+] ?(?=[\w$£€(])", " plus "),
        (r"(?<=\w) ?[+] ?(?=[0-9]|\s)", " plus "), (r"± ?", "plus or minus "), (r"[~≈] ?(?=[$£€]?[0-9])", "about "),
        (r"§+ ?(?=[0-9])", "section "), (r"(?<=\w)²", " squared"),
        (r"(?<=\w)³", " cubed"), (r" ?@ ?(?=[a-z])", " at "),
        (r"(?<=[0-9]) ?/ ?(?=[a-z])|(?<=[a-z]) ?/ ?(?=\w)", " "),  # and/or
    )
)  # fmt: skip


def clean(text: str) -> str:
    """Turn Latin letters into lower-case ASCII and spell out numbers and abbreviations; ARPAbet in braces stays as it is.

    Other scripts stay, too, in lower case: the front end reports them.
    """
    text = unicodedata.normalize("NFC", text).replace(_PLACE, "\ue001")
    phones = [f"{{{' '.join(re.findall('[A-Z]+[0-2]?', braced))}}}" for braced in _BRACED.findall(text)]
    words = collapse_whitespace(_clean_words(_BRACED.sub(_PLACE, text)))
    return re.sub(_PLACE, lambda _: phones.pop(0), words)


def _clean_words(text: str) -> str:
    text = _FRACTIONS.sub(_split_fraction, expand_feet(text))
    text = fold_punctuation(unicodedata.normalize("NFD", text)).translate(_LETTERS)
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", text))
    text = read_addresses(text, _SIGNS, _spell)
    text = re.sub(r"\s+", " ", expand_abbreviations(text).lower())
    return _expand_figures(text) if _FIGURES.search(text) else text


def _expand_figures(text: str) -> str:
    text = re.sub(r"(?<=[0-9m]) ?[x×] ?(?=[0-9])", " by ", text)
    text = expand_quantities(expand_dates(text))
    for pattern, words in _MATHS:
        text = pattern.sub(words, text)
    return expand_numbers(_SEAM.sub(" ", text))


def _split_fraction(match: re.Match[str]) -> str:
    """2½ becomes 2 1/2."""
    return (" " if match[1] else "") + unicodedata.normalize("NFKC", match[0][-1]).replace("⁄", "/")


def _spell(piece: str) -> str:
    return "w w w" if piece.lower() == "www" else piece
