"""Write the corpus: a folder that is there as a whole, or not at all."""

import csv
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model.errors import BadInput
from objective.segmenting.recording import Recording
from objective.segmenting.segmenting import Piece

COLUMNS = ("id", "recording", "start_s", "end_s", "reason", "error", "text", "heard")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which it becomes when the block ends. If the block raises, nothing is left.

    Raises BadInput where `folder` holds something already.
    """
    rule = "need a folder that does not exist or is empty"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{rule}, got {folder}: choose another one with -o, or delete it")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise BadInput(f"{rule}, in one that exists, got {folder}: make {parent}")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as temporary:
        made = Path(temporary, folder.name)
        for name in ("wavs", "refused"):
            (made / name).mkdir(parents=True)
        yield made
        os.replace(made, folder)  # onto an empty folder, too


def names(recordings: Sequence[Path]) -> list[str]:
    """Return a name for each recording, with which the ids of its pieces begin, so that a split keeps them together."""
    found: list[str] = []
    for path in recordings:
        name = re.sub(r"[^\w.]+", "_", path.stem).strip("_.") or "recording"
        same = sum(other == name or other.startswith(f"{name}.") for other in found)
        found.append(f"{name}.{same + 1}" if same else name)
    return found


def write_pieces(
    folder: Path, name: str, recording: Recording, pieces: Sequence[Piece], told: Callable[[int, int], None]
) -> tuple[list[str], list[list[str]]]:
    """Write the sounds of a recording's pieces. Return the lines of the kept ones, and the rows of the others."""
    kept, refused = [], []
    for number, piece in enumerate(pieces, 1):
        id = f"{name}-{number:04d}"
        recording.cut(piece.start_s, piece.end_s, folder / ("refused" if piece.reason else "wavs") / f"{id}.wav")
        if piece.reason:
            error = "" if piece.error is None else f"{piece.error:.3f}"
            times = [f"{piece.start_s:.2f}", f"{piece.end_s:.2f}"]
            refused.append([id, recording.path.name, *times, piece.reason, error, piece.text, piece.heard])
        else:
            kept.append(f"{id}|{piece.text}|{piece.text}\n")
        told(number, len(pieces))
    return kept, refused


def write_lists(folder: Path, kept: Sequence[str], refused: Sequence[Sequence[str]]) -> None:
    with (folder / "refused.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *refused])
    (folder / "metadata.csv").write_text("".join(kept), encoding="utf-8", newline="\n")
