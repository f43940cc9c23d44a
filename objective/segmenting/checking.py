"""Judge cuts: what was heard in each against its text. The level up to which a cut is kept follows from all of them."""

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

WORD = 4  # letters missing, or too many, at an end: a word that belongs to the neighbour
FENCE = 1.5  # interquartile ranges above the third quartile: Tukey's rule for what does not belong to a distribution
LEAST, MOST = 0.05, 0.5  # a level below would refuse single letters; above, nobody could say that the text was heard


def error_of(text: str, heard: str) -> float:
    """Return the edits from a text to what was heard, both without spaces, per letter of the text."""
    return Levenshtein.distance(text, heard) / max(1, len(text))


def torn(text: str, heard: str) -> str:
    """Return at which end of a text letters are missing or too many, in words; "" for none."""
    codes = Levenshtein.opcodes(text, heard)
    if len(codes) < 2:
        return ""
    for code, end in zip((codes[0], codes[-1]), ("beginning", "end"), strict=True):
        size = max(code.src_end - code.src_start, code.dest_end - code.dest_start)
        if code.tag in ("insert", "delete") and size >= WORD:
            return f"{size} letters {'more' if code.tag == 'insert' else 'less'} heard at the {end} than written"
    return ""


def level_of(errors: Sequence[float]) -> float:
    """Return the error above which a cut does not belong to the others."""
    if not errors:
        return LEAST
    first, third = np.quantile(errors, [0.25, 0.75])
    return float(np.clip(third + FENCE * (third - first), LEAST, MOST))
