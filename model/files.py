"""Write files that a reader sees complete or not at all, and let one process at a time do something."""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_AFTER_S = 3600.0  # an unfinished file younger than this may still have a living writer


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to, and rename it to `path` when the block ends.

    A reader sees the old file or the complete new one, never a part of it. If the block raises, the temporary file is deleted
    and `path` stays as it was. The temporary name is unique, so several processes may write the same file at once: the last one
    to finish wins. Raises OSError where the rename fails.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock `path` in this block, once no other process holds it. Raises OSError for an unusable folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the operating system gives it back when its holder dies
        yield


def cache_folder() -> Path:
    """Return the folder for what is found out once on a machine, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tacotune")


def remove_stale_parts(folder: Path) -> None:
    """Remove the temporary files that killed writers left in `folder` and below, once they are STALE_AFTER_S old."""
    for part in folder.rglob(".*.part"):
        with suppress(FileNotFoundError):  # another process may be removing it, too
            if part.stat().st_mtime < time.time() - STALE_AFTER_S:
                part.unlink()
