"""Text as Telegram counts it, in UTF-16 units without the tags, and small drawings made of characters."""

import math
import re
from collections.abc import Iterator, Sequence
from html import unescape

_PIECE = re.compile(r"<(?P<end>/?)(?P<tag>\w+)[^>]*>|&(?:amp|lt|gt|quot);|.", re.DOTALL)
_BLOCKS = "▁▂▃▄▅▆▇█"


def units(html: str) -> int:
    """Return the length that Telegram counts for `html`, in UTF-16 units."""
    return sum(size for _, size, _ in _pieces(html))


def cut(html: str, limit: int) -> str:
    """Return `html` with at most `limit` units; if it was longer, it ends with an ellipsis and all tags are closed."""
    if units(html) <= limit:
        return html
    kept, used, open_tags = [], 0, list[str]()
    for piece, size, tag in _pieces(html):
        if used + size > limit - 1:
            break
        used += size
        kept.append(piece)
        if tag:
            open_tags = [*open_tags, tag] if not piece.startswith("</") else open_tags[:-1]
    return "".join([*kept, "…", *(f"</{tag}>" for tag in reversed(open_tags))])


def plain(html: str) -> str:
    """Return the text of `html`: no tags, and character references resolved."""
    return "".join(unescape(piece) for piece, size, _ in _pieces(html) if size)


def bar(share: float, cells: int = 10) -> str:
    """Draw a progress bar; a share below 0 is empty, one above 1 is full."""
    full = min(cells, max(0, round(share * cells)))
    return "▰" * full + "▱" * (cells - full)


def sparkline(values: Sequence[float | None]) -> str:
    """Draw positive values on a logarithmic scale, one character each; a missing one is a dot."""
    logs = [math.log(value) for value in values if value]
    if not logs:
        return ""
    lowest, width = min(logs), max(logs) - min(logs)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(top * (math.log(v) - lowest) / width) if width else top // 2] if v else "·" for v in values)


def _pieces(html: str) -> Iterator[tuple[str, int, str]]:
    """Yield tags, character references and characters, each with its units and, for a tag, its name."""
    for match in _PIECE.finditer(html):
        piece, tag = match[0], match["tag"] or ""
        yield piece, 0 if tag else len(unescape(piece).encode("utf-16-le")) // 2, tag
