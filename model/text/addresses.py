"""Find addresses of the web and of e-mail in a text, to be read sign by sign."""

import re
from collections.abc import Callable, Mapping

# An address without "www." or "http://" is recognised by its ending; endings that are words ("it", "me", "by") are left out.
_ENDINGS = "com|org|net|edu|gov|info|biz|io|dev|app|ai|tv|uk|de|fr|eu|jp|ru|ua|kz|рф"
_LABEL = r"[^\W_](?:[\w-]*[^\W_])?"
_PATH = r"(?:[/?#][\w./?=&%#~+-]*[\w/])?"
ADDRESS = re.compile(
    rf"(?<![\w@.])(?:[\w.+-]*\w@{_LABEL}(?:\.{_LABEL})+"
    rf"|(?i:https?://(?:{_LABEL})(?:\.{_LABEL})*{_PATH}|www\.{_LABEL}(?:\.{_LABEL})*{_PATH})"
    rf"|(?:[A-Za-zа-яё0-9](?:[a-zа-яё0-9-]*[a-zа-яё0-9])?\.)+(?:{_ENDINGS})(?![\w.]\w){_PATH})(?![\w@])"
)
_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


def read_addresses(text: str, signs: Mapping[str, str], word: Callable[[str], str]) -> str:
    """Replace each address by words: its signs by `signs`, letters and digits by `word`.

    "http://" and a slash at the end are silent.
    """

    def spoken(match: re.Match[str]) -> str:
        address = re.sub(r"^(?i:https?://)|/$", "", match[0])
        return " ".join(signs.get(piece) or word(piece) for piece in _PIECE.findall(address))

    return ADDRESS.sub(spoken, text)
