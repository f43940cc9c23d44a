"""Files of tensors that exist whole or not at all, are checked when read, and run nothing that they hold."""

import os
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from model.files import atomic_write

# What the readers of zip files and pickles say of a file that is torn, damaged or foreign.
UNREADABLE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, OverflowError)


def save(path: Path, values: dict[str, Any], before: Path | None = None) -> Path:
    """Write `values` (tensors and plain values) so that a reader sees the old file or the new one, even after a power cut.

    The old file goes on living as `before`, where that is given.
    """
    content = BytesIO()  # of a full disk torch's writer says "unexpected pos", a plain write what it is
    torch.save(values, content)
    with atomic_write(path) as part:
        with part.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if before is not None and path.exists():
            os.replace(path, before)
    return path


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. ValueError for a file that is torn, damaged or foreign, OSError for none."""
    content = BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:  # torch writes a checksum of each tensor, and reads without a look at it
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} does not fit its checksum")
        content.seek(0)
        values = torch.load(content, map_location="cpu", weights_only=True)
    except UNREADABLE as why:
        raise ValueError(f"{path} is not a checkpoint that can be read: delete it, or choose another") from why
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, need a checkpoint: choose another")
    return values
