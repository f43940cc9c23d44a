"""Write the files that a person asked a command for."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from model.files import atomic_write


def write(path: Path | None, text: Callable[[], str]) -> None:
    """Write a file that was asked for, and say so."""
    if path is not None:
        with atomic_write(path) as part:
            part.write_text(text(), encoding="utf-8")
        print(f"written: {path}")


def writable(paths: Iterable[Path | None]) -> list[str]:
    """Return a sentence for each file that cannot be written."""
    rule = "need a file that can be written, in a folder that exists"
    return [
        f"{rule}, got {path}: make the folder, or choose another file"
        for path in paths
        if path is not None and (not os.access(path.absolute().parent, os.W_OK) or path.is_dir())
    ]
