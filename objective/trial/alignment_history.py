"""Keep how a trial's alignment develops: the attention of one validation sentence at every report, in `alignments.npz`."""

import shutil
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from model.files import atomic_write
from model.report import Report
from storage.paths import ALIGNMENTS

if TYPE_CHECKING:  # torch, which the views that read the file do without
    from model.trainer import Trainer

Attention = NDArray[np.uint8]  # (T decoder steps, N symbols): 255 times the square root of the weights


class AlignmentHistory:
    """Records the attention of a trainer's validation sentence of middle length. A context manager around its steps.

    It reads what the validation computes anyway (teacher-forced, with the same dropout at every report), so it costs next to
    nothing.
    """

    def __init__(self, trainer: "Trainer", folder: Path) -> None:
        texts = sorted((example.ids for example in trainer.speech.validation), key=lambda ids: (len(ids), ids))
        self._ids, self._network = texts[len(texts) // 2], trainer.network
        self._path, self._kept = folder / ALIGNMENTS, read(folder)
        self._latest: Attention | None = None

    def __enter__(self) -> Self:
        self._hook = self._network.register_forward_hook(self._look)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hook.remove()

    def add(self, report: Report) -> None:
        """Write what the validation of this report has seen. Call it before the report is shown.

        What a full disk refuses is written with the next report: a picture must not end a trial.
        """
        if self._latest is not None:
            self._kept[_key(report)] = self._latest
            with suppress(OSError), atomic_write(self._path) as part, part.open("wb") as file:
                np.savez_compressed(file, **self._kept)  # type: ignore[arg-type]

    def _look(self, network: Any, arguments: tuple[Any, ...], outputs: Any) -> None:
        if network.training:
            return
        batch, length = arguments[0], len(self._ids)
        for row in (batch.symbol_lengths == length).nonzero().flatten().tolist():
            if tuple(batch.ids[row, :length].tolist()) == self._ids:
                steps = int(outputs.step_lengths[row])
                weights = outputs.alignment[row, :steps, :length].float().cpu().numpy()
                self._latest = np.rint(255 * np.sqrt(np.clip(np.nan_to_num(weights), 0, 1))).astype(np.uint8)
                return


def read(folder: Path) -> dict[str, Attention]:
    """Return what was recorded in a trial's folder; empty where nothing was, or the file cannot be read."""
    try:
        with (folder / ALIGNMENTS).open("rb") as file, np.load(file) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return {}


def attention_at(report: Report, recorded: dict[str, Attention]) -> Attention | None:
    """Return the attention at a report, or None where it was not recorded."""
    return recorded.get(_key(report))


def copy_history(old: Path, new: Path) -> None:
    """Copy the history to the folder of the trial that resumes another one. Raises OSError."""
    if (old / ALIGNMENTS).exists():
        with atomic_write(new / ALIGNMENTS) as part:
            shutil.copyfile(old / ALIGNMENTS, part)


def _key(report: Report) -> str:
    return f"{report.kframes:.3f}"
