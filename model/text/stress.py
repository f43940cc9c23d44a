"""Put stress marks into Russian texts with silero-stress, which tells homographs apart by their sentence.

The library takes seconds to load and about 10 ms for a sentence, so what it has read is kept: in this process, and in a file
for the next one. Words of one syllable get no mark, and ё stays as it is written. Loads only the standard library.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from model.errors import BadInput
from model.files import atomic_write

_LOCK = threading.Lock()
_MOST = 200_000  # texts that are kept, about 100 MB: a server that runs for months drops the oldest
_known: dict[str, str] = {}  # text -> text with marks


def missing() -> str | None:
    """Return a sentence on the package that is not installed, or None."""
    try:
        version("silero-stress")
    except PackageNotFoundError:
        return "data.stress=silero needs the package silero-stress, which is not installed: pip install 'silero-stress>=1.5,<2'"
    return None


def marked(text: str) -> str:
    """Return a cleaned text with a `+` before each stressed vowel; words that have one keep it. Raises BadInput."""
    with _LOCK:
        if text not in _known:
            found = str(_accentor()(text, put_yo=False, put_yo_homo=False, stress_single_vowel=False))
            if len(_known) >= _MOST:
                del _known[next(iter(_known))]
            _known[text] = _kept(text, found)
        return _known[text]


@contextmanager
def remembered(folder: Path) -> Iterator[None]:
    """Start from the marks that are kept in a folder, and keep those that are found inside. Nothing is kept on an error."""
    if missing():
        yield
        return
    path = folder / f"silero-{version('silero-stress')}.json"
    with suppress(FileNotFoundError, ValueError):  # absent or damaged: its marks are found again
        _known.update(json.loads(path.read_text(encoding="utf-8")))
    before = len(_known)
    yield
    if len(_known) > before:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_text(json.dumps(_known, ensure_ascii=False, indent=0), encoding="utf-8")


def _kept(text: str, found: str) -> str:
    """Return the marks that were found, where they are the only change, and none of the text's own is lost."""
    if found.replace("+", "") != text.replace("+", ""):
        return text
    pairs = zip(text.split(" "), found.split(" "), strict=True)
    return " ".join(own if "+" in own else new for own, new in pairs)


@cache
def _accentor() -> Any:
    if sentence := missing():
        raise BadInput(sentence)
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_stress import load_accentor  # which sets the threads of the process to 1

        return load_accentor()
    finally:
        torch.set_num_threads(threads)
