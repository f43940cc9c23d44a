"""Files of tensors that exist whole or not at all, and are read without running anything they hold."""
import os
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from model.files import whole


def save(path: Path, values: dict[str, Any]) -> Path:
    """Write `values` (tensors and plain values) so that a reader sees the old file or the new one, even after a power cut."""
    content = BytesIO()  # of a full disk torch's writer says "unexpected pos", a plain write what it is
    torch.save(values, content)
    with whole(path) as part, part.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    return path


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. A file that is torn or foreign raises ValueError."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as why:
        raise ValueError(f"{path} is not a checkpoint that can be read: delete it, or choose another") from why
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, need a checkpoint: choose another")
    return values
