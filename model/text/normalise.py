"""Shared by the cleaners of all languages: punctuation symbols, signs that cannot be seen, plain punctuation, white space."""

import re
import unicodedata

PUNCTUATION = "_-!'(),.:;? "  # every symbol table starts with these; _ is the padding, with id 0

# Dashes and quotes have many shapes and few sounds. Double quotation marks have no sound, and no table has a symbol for them:
# they are the only visible characters that a cleaner removes.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        "…": "...",
    }
)
_QUOTES = '"“”„‟«»″'
_QUOTED = re.compile(rf"(?<=[\w.,:;!?)])[{_QUOTES}]+(?=\w)|([{_QUOTES}])")
_LIGATURES = re.compile("[\ufb00-\ufb06]")


def strip_invisible(text: str) -> str:
    """Remove what has neither shape nor sound, and turn white space of any width and control characters into spaces.

    Soft hyphens, zero-width signs, marks of direction and byte order (Unicode's category Cf) stand inside words, and so do
    variation selectors. Ligatures such as ﬃ become their letters.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f" or character == "\u034f":
        return ""
    return " " if category in ("Cc", "Zs", "Zl", "Zp") else character


def fold_punctuation(text: str) -> str:
    """Replace the many shapes of dashes, quotes and ellipses by ASCII, and remove double quotation marks.

    A quotation mark between two words may be their only border: it leaves a space.
    """
    return _QUOTED.sub(lambda match: "" if match[1] else " ", text.translate(_PLAIN))


def collapse_whitespace(text: str) -> str:
    """Strip `text` and turn each run of white space into one space."""
    return " ".join(text.split())
