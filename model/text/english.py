"""English: the symbol table of NVIDIA/tacotron2, and a cleaner that turns text into the words that a reader pronounces.

The cleaner does what NVIDIA's `english_cleaners` do, but does not transliterate other scripts.
"""

import re
import unicodedata

from model.text.normalise import DOT, PUNCTUATION, collapse_whitespace, fold_punctuation

_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CMUDICT = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
ARPABET = tuple(
    phone + stress for phone in _CMUDICT.split() for stress in (("", "0", "1", "2") if phone[0] in "AEIOU" else ("",))
)
# NVIDIA's 148 symbols in NVIDIA's order, so that its weights fit. ARPAbet is written as @AA0.
SYMBOLS = (*PUNCTUATION, *_LATIN, *(f"@{phone}" for phone in ARPABET))

_PHONE = f"(?:{'|'.join(ARPABET)})"
_BRACED = re.compile(rf"((?:\{{\s*{_PHONE}(?:\s+{_PHONE})*\s*\}})+)")  # {HH AH0 L OW1}, adjacent braces together

# Latin letters that Unicode does not split into a letter and its accents.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i", "ﬁ": "fi", "ﬂ": "fl", "ẞ": "SS"}
)
_ACCENTS = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")

_TITLES = {
    "mr": "mister", "mrs": "misess", "dr": "doctor", "drs": "doctors", "st": "saint", "maj": "major", "gen": "general",
    "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant", "capt": "captain", "col": "colonel",
    "ft": "fort", "prof": "professor",
}  # fmt: skip
_SHORT = {"co": "company", "jr": "junior", "esq": "esquire", "ltd": "limited", "etc": "et cetera", "vs": "versus"}
_TITLE = re.compile(rf"\b((?i:{'|'.join(_TITLES)}))(?:\.(?!\s*$)|(?=\.))")  # a capital after a title ends no sentence
_SHORTENED = re.compile(rf"\b((?i:{'|'.join(_SHORT)})){DOT}")

_NUMBER = r"([0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_MONEY = re.compile(rf"([$£€]){_NUMBER}(?:\.([0-9]+))?(?: (hundred|thousand|million|billion|trillion)\b)?")
_DECIMAL = re.compile(rf"(?<![0-9.]){_NUMBER}\.([0-9]+)(?!\.?[0-9])")  # not in 12.05.1984
_ORDINAL = re.compile(rf"{_NUMBER}(?:st|nd|rd|th)\b")
_WHOLE = re.compile(_NUMBER)
_SEAM = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=(?!(?:s|st|nd|rd|th)\b)[a-z])")  # between a letter and a digit
_COINS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}


def clean(text: str) -> str:
    """Turn Latin letters into lower-case ASCII and spell out numbers and abbreviations; ARPAbet in braces stays as it is.

    Other scripts stay, too, in lower case: the front end reports them.
    """
    pieces = _BRACED.split(unicodedata.normalize("NFC", text))
    pieces[::2] = map(_clean_words, pieces[::2])
    pieces[1::2] = (f"{{{' '.join(re.findall('[A-Z]+[0-2]?', braced))}}}" for braced in pieces[1::2])
    return collapse_whitespace("".join(pieces))


def _clean_words(text: str) -> str:
    text = fold_punctuation(unicodedata.normalize("NFD", text)).translate(_LETTERS)
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", text))
    text = _TITLE.sub(lambda match: _TITLES[match[1].lower()], text)
    text = _SHORTENED.sub(lambda match: _SHORT[match[1].lower()], text)
    return _expand_numbers(re.sub(r"\s+", " ", text.lower()))


def _expand_numbers(text: str) -> str:
    text = re.sub(r" ?& ?", " and ", re.sub(r"(?<=[0-9]) ?%", " percent", text))
    text = _MONEY.sub(_money, text)
    text = _SEAM.sub(" ", text)
    text = _DECIMAL.sub(lambda match: _decimal(match[1], match[2]), text)
    text = _ORDINAL.sub(lambda match: _words(match[1], "ordinal"), text)
    return _WHOLE.sub(lambda match: _words(match[1], "year" if _is_year(match[1]) else "cardinal"), text)


def _is_year(digits: str) -> bool:
    return len(digits) == 4 and 1000 < int(digits) < 3000


def _words(digits: str, kind: str = "cardinal") -> str:
    from num2words import num2words

    digits = digits.replace(",", "")
    if len(digits) > 15 or (digits[0] == "0" and len(digits) > 1):  # a telephone number, 007: read digit by digit
        return " ".join(str(num2words(int(digit))) for digit in digits)
    return str(num2words(int(digits), to=kind)).replace(" and ", " ").replace(",", "")


def _decimal(whole: str, fraction: str) -> str:
    return " ".join((_words(whole), "point", *map(_words, fraction)))


def _money(match: re.Match[str]) -> str:
    sign, whole, fraction, scale = match.groups()
    one, many, small_one, small_many = _COINS[sign]
    if scale or (fraction and len(fraction) != 2):
        amount = _decimal(whole, fraction) if fraction else _words(whole)
        return " ".join(filter(None, (amount, scale, many)))
    parts = []
    cents = int(fraction or 0)
    if whole != "0" or not cents:
        parts.append(f"{_words(whole)} {one if whole == '1' else many}")
    if cents:
        parts.append(f"{_words(str(cents))} {small_one if cents == 1 else small_many}")
    return " ".join(parts)
