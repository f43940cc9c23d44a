"""Text as Telegram counts it, in UTF-16 units of what its tags leave, and small drawings made of letters."""

import math
import re
from collections.abc import Iterator, Sequence
from html import unescape

_PIECE = re.compile(r"<(?P<end>/?)(?P<tag>\w+)[^>]*>|&(?:amp|lt|gt|quot);|.", re.DOTALL)
_BLOCKS = "▁▂▃▄▅▆▇█"


def units(text: str) -> int:
    """How long Telegram takes `text`, which is HTML, to be."""
    return sum(size for _, size, _ in _pieces(text))


def cut(text: str, limit: int) -> str:
    """`text`, which is HTML, with at most `limit` units: where it was longer it ends with an ellipsis, all tags closed."""
    if units(text) <= limit:
        return text
    kept, used, open_tags = [], 0, list[str]()
    for piece, size, tag in _pieces(text):
        if used + size > limit - 1:
            break
        used += size
        kept.append(piece)
        if tag:
            open_tags = [*open_tags, tag] if not piece.startswith("</") else open_tags[:-1]
    return "".join([*kept, "…", *(f"</{tag}>" for tag in reversed(open_tags))])


def plain(text: str) -> str:
    """What is left of HTML where no tag is read."""
    return "".join(unescape(piece) for piece, size, _ in _pieces(text) if size)


def bar(share: float, cells: int = 10) -> str:
    full = min(cells, max(0, round(share * cells)))
    return "▰" * full + "▱" * (cells - full)


def sparkline(values: Sequence[float | None]) -> str:
    """The history of positive values on a logarithmic scale, a letter each; a dot for one that is missing."""
    known = [math.log(value) for value in values if value]
    if not known:
        return ""
    least, width = min(known), max(known) - min(known)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(top * (math.log(v) - least) / width) if width else top // 2] if v else "·" for v in values)


def _pieces(text: str) -> Iterator[tuple[str, int, str]]:
    """Tags, references and letters: each with its units, and a tag with its name."""
    for found in _PIECE.finditer(text):
        piece, tag = found[0], found["tag"] or ""
        yield piece, 0 if tag else len(unescape(piece).encode("utf-16-le")) // 2, tag
