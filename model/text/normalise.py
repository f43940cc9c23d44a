"""Shared by the cleaners of all languages: the punctuation symbols, plain punctuation, single spaces, an abbreviation's dot."""

PUNCTUATION = "_-!'(),.:;? "  # every symbol table starts with these; _ is the padding, with id 0

# Dashes and quotes have many shapes and few sounds. Double quotation marks have no sound, and no table has a symbol for them:
# they are the only characters that a cleaner removes.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys('"“”„‟«»', ""),
        "…": "...",
    }
)

# The dot is removed with its abbreviation, but stays where it also ends the sentence.
DOT = r"(?:\.(?!\s*$|\s+[A-ZА-ЯЁ])|(?=\.))"


def fold_punctuation(text: str) -> str:
    """Replace the many shapes of dashes, quotes and ellipses by ASCII, and remove double quotation marks."""
    return text.translate(_PLAIN)


def collapse_whitespace(text: str) -> str:
    """Strip `text` and turn each run of white space into one space."""
    return " ".join(text.split())
