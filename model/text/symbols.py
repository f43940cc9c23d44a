"""The symbol tables: a symbol's place in its table is its id, and id 0 is the padding."""

LANGUAGES = ("en", "ru")

_PUNCTUATION = "_-!'(),.:;? "
_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя+"  # + is the stress mark, before the stressed vowel
_PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"  # of cmudict
_VOWEL_STRESSES = ("", "0", "1", "2")

ARPABET = tuple(phone + stress for phone in _PHONES.split() for stress in (_VOWEL_STRESSES if phone[0] in "AEIOU" else ("",)))


def symbols(language: str) -> tuple[str, ...]:
    """The symbols of `language` in the order of their ids.

    "en" has the 148 of NVIDIA/tacotron2 in NVIDIA's order, ARPAbet written as @AA0, so that its weights fit. ValueError for a
    language that has no table.
    """
    if language == "en":
        return (*_PUNCTUATION, *_LATIN, *(f"@{phone}" for phone in ARPABET))
    if language == "ru":
        return (*_PUNCTUATION, *_RUSSIAN)
    raise ValueError(f"need a language out of {', '.join(LANGUAGES)}, got {language!r}: choose one of these")
