"""What the cleaners of all languages share: plain punctuation, single spaces, and the dot of an abbreviation."""

# Dashes and quotes have many shapes and few sounds. Double quotation marks have none, and no table has a symbol for them: they
# are the only characters that a cleaner takes away.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys('"“”„‟«»', ""),
        "…": "...",
    }
)

# The dot goes with its abbreviation, but stays where it ends the sentence as well.
DOT = r"(?:\.(?!\s*$|\s+[A-ZА-ЯЁ])|(?=\.))"


def fold_punctuation(text: str) -> str:
    return text.translate(_PLAIN)


def collapse_whitespace(text: str) -> str:
    return " ".join(text.split())
