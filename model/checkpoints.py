"""Checkpoint files: written atomically, checked when they are read, and loaded without running any code they contain."""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.files import atomic_write

# Raised by the readers of zip files and pickles for a file that is truncated, damaged or of another format.
UNREADABLE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, OverflowError)


def save(path: Path, values: dict[str, Any], before: Path | None = None) -> Path:
    """Write `values` (tensors and plain values) so that a reader sees the old file or the new one, even after a power cut.

    before: keeps the old file under this path.
    """
    content = BytesIO()  # on a full disk torch's own writer reports "unexpected pos", a plain write reports the full disk
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
    """Read what `save` wrote, onto the CPU.

    Raises ValueError for a file that is truncated, damaged or not a checkpoint, OSError for a missing one.
    """
    content = BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:  # torch writes checksums and ignores them when it reads
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


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return a hash of weights, by which figures are known to be of one voice."""
    found = hashlib.blake2b(digest_size=16)
    for name, weight in sorted(weights.items()):
        found.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
