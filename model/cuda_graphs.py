"""Run complete updates as CUDA graphs, one for each padded shape: the host launches one graph instead of ten thousand kernels.

A batch's longest utterance is rounded up to one of SHAPES lengths of the corpus. The first updates of a shape in a process run
eagerly (kernels compile, libraries choose algorithms), and so does the first one of a trial (Adam creates its moments); then
the update is recorded, and replayed from then on. A batch is copied into tensors that all graphs read, so the corpus need not
be on the GPU. All shapes share these and one memory pool. Replays follow one another on one stream, so none overwrites data
that another still needs.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model.data.loading import Batch, Loader
from model.recorder import CudaRecorder, Recorder
from model.tacotron2 import Outputs
from model.train_step import Update

SHAPES = 16  # rounding up to them costs 3 % of LJSpeech's frames
EAGER = 2  # updates of a shape before it is recorded, once in a process

Result = tuple[Tensor, list[Outputs]]

_seen: Counter[tuple[object, ...]] = Counter()  # eager updates of this process, by device, network, type and shape


class Shapes:
    """The padded sizes of batches: quantiles of the utterances' frames, each with the most symbols below it."""

    def __init__(self, symbols: np.ndarray, frames: np.ndarray, count: int = SHAPES) -> None:
        self.frames = np.unique(np.ceil(np.quantile(frames, np.arange(1, count + 1) / count)).astype(int))
        self.symbols = np.array([symbols[frames <= edge].max() for edge in self.frames])

    def of(self, longest: int) -> tuple[int, int]:
        """Return the symbols and frames to which a batch of at most `longest` frames is padded."""
        place = int(np.searchsorted(self.frames, longest))
        return int(self.symbols[place]), int(self.frames[place])


class StaticInputs:
    """The tensors from which recorded updates read their batches: one set for all shapes, large enough for the largest."""

    def __init__(self, utterances: int, symbols: int, frames: int, bands: int, device: torch.device) -> None:
        self.ids = torch.zeros(utterances * symbols, dtype=torch.int64, device=device)
        self.mels = torch.zeros(utterances * frames * bands, device=device)
        self.lengths = torch.ones(2, utterances, dtype=torch.int64, device=device)
        self.bands = bands

    def batch(self, utterances: int, symbols: int, frames: int) -> Batch:
        """Return views of them as a batch of this shape."""
        symbol_lengths, frame_lengths = self.lengths[:, :utterances]
        return Batch(
            ids=self.ids[: utterances * symbols].view(utterances, symbols),
            symbol_lengths=symbol_lengths,
            mels=self.mels[: utterances * frames * self.bands].view(utterances, frames, self.bands),
            frame_lengths=frame_lengths,
        )


class CapturedUpdate:
    """Runs `Update` on batches of a corpus as recorded updates. Raises NotRecordedError where one cannot be recorded."""

    def __init__(self, update: Update, loader: Loader, utterances: int, recorder: Recorder | None = None) -> None:
        """utterances: of the largest batch."""
        self.update, self.loader = update, loader
        self.shapes = Shapes(loader.symbols, loader.frames)
        bands = loader.examples[0].mel.shape[1]
        self.inputs = StaticInputs(utterances, int(loader.symbols.max()), int(loader.frames.max()), bands, update.device)
        self.recorder = recorder or CudaRecorder(update.device)
        self.recorded: dict[tuple[int, int, int], Callable[[], Result]] = {}
        self.kind = (str(update.device), update.config.network, update.dtype)

    def __call__(self, indices: list[int]) -> Result:
        """Do what `Update` does with the batch of these utterances. The next call overwrites the outputs."""
        shape = (len(indices), *self.shapes.of(int(self.loader.frames[indices].max())))
        with self.recorder.apart():
            batch = self.loader(indices, *shape[1:])
            key = (*self.kind, *shape)
            if shape not in self.recorded and (_seen[key] < EAGER or not self.update.optimiser.state):
                _seen[key] += 1
                return self.update([batch])
            static = self.inputs.batch(*shape)
            static.copy_(batch)
            if shape not in self.recorded:
                self.recorded[shape] = self.recorder.record(lambda: self.update([static]))
            record, outputs = self.recorded[shape]()
            return record.clone(), outputs
