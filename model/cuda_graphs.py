"""Run complete updates as CUDA graphs, one for each padded shape: the host launches one graph instead of ten thousand kernels.

A batch's longest utterance is rounded up to one of SHAPES lengths of the corpus. The first updates of a shape run eagerly
(kernels compile, libraries choose algorithms, Adam creates its moments); the next one is recorded, and replayed from then on.
All shapes share one memory pool. Replays follow one another on one stream, so none overwrites data that another still needs.
"""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from model.data.loading import Loader
from model.tacotron2 import Outputs
from model.train_step import Update

SHAPES = 16  # rounding up to them costs 3 % of LJSpeech's frames
EAGER = 2  # updates of a shape before it is recorded


class Shapes:
    """The padded sizes of batches: quantiles of the utterances' frames, each with the most symbols below it."""

    def __init__(self, symbols: np.ndarray, frames: np.ndarray, count: int = SHAPES) -> None:
        self.frames = np.unique(np.ceil(np.quantile(frames, np.arange(1, count + 1) / count)).astype(int))
        self.symbols = np.array([symbols[frames <= edge].max() for edge in self.frames])

    def of(self, longest: int) -> tuple[int, int]:
        """Return the symbols and frames to which a batch of at most `longest` frames is padded."""
        place = int(np.searchsorted(self.frames, longest))
        return int(self.symbols[place]), int(self.frames[place])


class CapturedUpdate:
    """Runs `Update` as CUDA graphs, on batches of a corpus that is resident on a GPU."""

    def __init__(self, update: Update, loader: Loader) -> None:
        assert loader.resident is not None
        self.update, self.loader, self.resident = update, loader, loader.resident
        self.shapes = Shapes(loader.symbols, loader.frames)
        self.stream = torch.cuda.Stream(update.device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()
        self.seen: Counter[tuple[int, int, int]] = Counter()
        self.recorded: dict[tuple[int, int, int], _RecordedUpdate] = {}

    def __call__(self, indices: list[int]) -> tuple[Tensor, list[Outputs]]:
        """Do what `Update` does with the batch of these utterances. The next call overwrites the outputs."""
        shape = (len(indices), *self.shapes.of(int(self.loader.frames[indices].max())))
        rows = torch.tensor(indices).pin_memory()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            if shape not in self.recorded and self.seen[shape] < EAGER:
                self.seen[shape] += 1
                batch = self.resident.gather(rows.to(self.update.device, non_blocking=True), *shape[1:])
                record, outputs = self.update([batch])
            else:
                if shape not in self.recorded:
                    self.recorded[shape] = _RecordedUpdate(self, shape)
                record, outputs = self.recorded[shape](rows)
        torch.cuda.current_stream().wait_stream(self.stream)
        return record, outputs


class _RecordedUpdate:
    """The CUDA graph of an update with batches of one shape: (utterances, symbols, frames)."""

    def __init__(self, owner: CapturedUpdate, shape: tuple[int, int, int]) -> None:
        self.rows = torch.zeros(shape[0], dtype=torch.int64, device=owner.update.device)
        self.graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(owner.update.device)
        out_of_memory: torch.OutOfMemoryError | None = None
        try:
            with torch.cuda.graph(self.graph, pool=owner.pool, stream=owner.stream):
                try:
                    self.record, self.outputs = owner.update([owner.resident.gather(self.rows, *shape[1:])])
                except torch.OutOfMemoryError as why:
                    out_of_memory = why.with_traceback(None)  # the end of the recording raises another error
        except RuntimeError:
            if out_of_memory is None:
                raise
        if out_of_memory is not None:
            raise out_of_memory

    def __call__(self, rows: Tensor) -> tuple[Tensor, list[Outputs]]:
        self.rows.copy_(rows, non_blocking=True)
        self.graph.replay()
        return self.record.clone(), self.outputs
