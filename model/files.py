"""Files that exist whole or not at all."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINGER_S = 3600.0  # for so long after its last write an unfinished file may still be somebody's


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends, and vanishes if the block raises.

    The name is unique, so several processes may write the same file at once: the last one wins, and a reader sees one of them.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove from `folder` and those in it what processes that were killed had begun to write."""
    for part in folder.rglob(".*.part"):
        with suppress(FileNotFoundError):  # somebody else sweeps, too
            if part.stat().st_mtime < time.time() - LINGER_S:
                part.unlink()
