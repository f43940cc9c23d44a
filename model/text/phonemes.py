"""Phonemes as the input of a network: espeak-ng's, in IPA, with the punctuation of the text.

A symbol is one character of IPA; stress marks and the marks of length and of palatalisation are symbols of their own, as in
Piper. So the tables are short and closed: whatever a reader combines, `tʲ` or `ɔː`, is spelled with characters that training
has seen. The characters were measured: English over 94,000 words, Russian over 428,000 word forms and the sentences of the
repository, with espeak-ng 1.52.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from model.text import espeak, russian_vowels
from model.text.normalise import PUNCTUATION, collapse_whitespace

ENGLISH = (*PUNCTUATION, *"abdefhijklmnoprstuvwxzæðŋɐɑɔəɚɛɜɡɪɬɹɾʃʊʌʒʔˈˌː̩θᵻ")
RUSSIAN = (*PUNCTUATION, *'"^abdefijkmnoprstuvxyzŋɑɔɕəɛɡɪɭɵʃʌʑʒʲˈˌ')  # " and ^ are signs of softness there

# ARPAbet as espeak-ng's American voice says it; a vowel's stress mark stands in front of it.
_IPA: Mapping[str, str] = MappingProxyType(
    {
        "AA": "ɑː", "AE": "æ", "AH": "ʌ", "AO": "ɔː", "AW": "aʊ", "AY": "aɪ", "B": "b", "CH": "tʃ", "D": "d", "DH": "ð",
        "EH": "ɛ", "ER": "ɜː", "EY": "eɪ", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "iː", "JH": "dʒ", "K": "k",
        "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
        "TH": "θ", "UH": "ʊ", "UW": "uː", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
        "AH0": "ə", "ER0": "ɚ", "IY0": "i",
    }
)  # fmt: skip
_STRESS = {"1": "ˈ", "2": "ˌ"}
_BRACED = r"\{[^{}]*\}"
# What espeak-ng would drop: marks, and a hyphen that is not inside a word.
_MARK = re.compile(rf"({_BRACED}|[!(),.:;?]|(?<!\w)-+|-+(?![\w+]))")


def english(text: str) -> str:
    """Return the phonemes of a cleaned text. ARPAbet in braces is said as it is written."""
    return _joined(text, lambda words: espeak.phonemes(words, "en-us"))


def russian(text: str) -> str:
    """Return the phonemes of a cleaned text, stressed where it has a `+`."""
    return _joined(text, russian_vowels.phonemes)


def _joined(text: str, read: Callable[[str], str]) -> str:
    """Read what stands between the marks of a text, each piece alone."""
    pieces = []
    for piece in _MARK.split(text):
        if re.fullmatch(_BRACED, piece):
            pieces.append("".join(map(_arpabet, piece[1:-1].split())))
        elif _MARK.fullmatch(piece) or not piece.strip():
            pieces.append(piece)
        else:
            space = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
            pieces += [space[0], read(piece.strip()), space[1]]
    return collapse_whitespace("".join(pieces))


def _arpabet(phone: str) -> str:
    """Return the IPA of one ARPAbet phone, such as AH0; a vowel without a digit has no stress."""
    if phone in _IPA:
        return _IPA[phone]
    return _STRESS.get(phone[-1], "") + _IPA[phone.rstrip("012")]
