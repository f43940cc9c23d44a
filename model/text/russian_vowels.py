"""Move the stress in Russian phonemes to where the text has it, with the vowels that go with it.

espeak-ng 1.52 takes no stress marks in Russian: it guesses the stress of a word that its dictionary lacks, and reads a
homograph in one way. Its consonants do not depend on the stress, and each vowel letter is one vowel, whose quality follows from
the letter, its neighbours and the stress. These rules were read off 428,000 word forms as espeak-ng says them.
"""

import re

from model.text import espeak

VOICE = "ru"
_VOWELS, _HARD = "аеёиоуыэюя", "шжц"
_GLIDING = _VOWELS + "ьъ"  # before я, which begins with a glide behind these
_SPOKEN = re.compile(r"([ˈˌ]?)(j?)([aeiouyɑɛɪɵʌəɔ])(?!\^)")  # ɪ^ is a soft sign


def phonemes(text: str) -> str:
    """Return the phonemes of words, in which a `+` before a vowel is its stress."""
    plain = text.replace("+", "")
    spoken = espeak.phonemes(plain, VOICE)
    if "+" not in text:
        return spoken
    words, said = text.split(), spoken.split()
    if len(said) != len(words):  # read together or apart: one by one, then
        said = [espeak.phonemes(word, VOICE) for word in plain.split()]
    return " ".join(map(stressed, words, said))


def stressed(word: str, said: str) -> str:
    """Return the phonemes `said` of a word with the stress that its `+` marks give it. Without a mark they stay."""
    parts = word.split("-")
    vowels = [(place, part) for place, piece in enumerate(parts) for part in _places(piece)]
    found = list(_SPOKEN.finditer(said))
    if "+" not in word or len(vowels) != len(found):  # an abbreviation that is spelled
        return said
    pieces, end = [], 0
    for (place, vowel), match in zip(vowels, found, strict=True):
        piece, sounds = parts[place], match[0]
        if "+" in piece:
            stress = [part for part in _places(piece) if piece[part - 1 : part] == "+"]
            sounds = match[2] + "ˈ" * (vowel in stress) + (quality(piece, vowel, stress) or match[3])
        pieces += [said[end : match.start()], sounds]
        end = match.end()
    return "".join((*pieces, said[end:]))


def quality(word: str, place: int, stress: list[int]) -> str | None:
    """Return the sound of the vowel at a place of the word, whose stressed vowels are at `stress`; None: it has but one."""
    letter, before, last = word[place], word[:place].rstrip("+")[-1:], place == len(word) - 1
    if place in stress:
        hard = before in _HARD and before
        return {"а": "ɑ", "я": "ɑ", "о": "o", "е": "ɛ" if hard else "e", "ё": "o" if hard else "ɵ"}.get(letter)
    places = _places(word)
    pretonic = word[place + 1 :].lstrip("бвгджзйклмнпрстфхцчшщъь").startswith("+")  # the next vowel is the stressed one
    post = bool(stress) and place > stress[0]
    if letter == "а":
        open_ = place == places[0] == 0 or pretonic or (last and before not in ("ч", "щ"))
        return "a" if open_ else "ʌ"
    if letter == "я":
        return "a" if (before in _GLIDING or not before) or (pretonic and not post) else "ʌ"
    if letter == "е":
        return "ɪ" if not before or (last and before in _GLIDING) else "y" if before in _HARD else "i"
    return "ʌ" if letter in "оё" else None


def _places(word: str) -> list[int]:
    return [place for place, letter in enumerate(word) if letter in _VOWELS]
