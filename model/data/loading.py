"""Indices -> a padded batch on the training device. A corpus that fits stays on the GPU, and batches are gathered there.

B batch, N symbols, F mel frames, M mel bands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RESIDENT_SHARE = 0.1  # of a GPU's memory that the mels may take. Not of what is free: trials beside each other are alike


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance as the network sees it."""

    ids: tuple[int, ...]  # (N,)
    mel: np.ndarray  # (F, M) float32, natural log; may be memory-mapped


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded with zeros at the end."""

    ids: Tensor  # (B, N) int64
    symbol_lengths: Tensor  # (B,) int64
    mels: Tensor  # (B, F, M) float32
    frame_lengths: Tensor  # (B,) int64

    def to(self, device: torch.device) -> "Batch":
        every = (self.ids, self.symbol_lengths, self.mels, self.frame_lengths)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in every))


def collate(examples: Sequence[Example], symbols: int | None = None, frames: int | None = None) -> Batch:
    """Pad to the longest utterance, or to `symbols` and `frames`."""
    counts = torch.tensor([len(example.ids) for example in examples])
    lengths = torch.tensor([len(example.mel) for example in examples])
    ids = torch.zeros(len(examples), symbols or int(counts.max()), dtype=torch.int64)
    mels = torch.zeros(len(examples), frames or int(lengths.max()), examples[0].mel.shape[1])
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mels[row, : len(example.mel)] = torch.from_numpy(np.array(example.mel))
    return Batch(ids, counts, mels, lengths)


class Loader:
    """Batches of `examples` on `device`."""

    def __init__(self, examples: Sequence[Example], device: torch.device) -> None:
        self.examples, self.device = examples, device
        sizes = [(len(example.ids), len(example.mel)) for example in examples]
        self.symbols, self.frames = np.array(sizes).T
        self.resident: Resident | None = None
        if device.type == "cuda":
            size = 4 * int(self.frames.sum()) * examples[0].mel.shape[1]
            if size < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[1]:
                self.resident = Resident(examples, device)

    def __call__(self, indices: Sequence[int], symbols: int | None = None, frames: int | None = None) -> Batch:
        """Padded to the longest utterance, or to `symbols` and `frames`."""
        if self.resident is None:
            return collate([self.examples[index] for index in indices], symbols, frames).to(self.device)
        rows = torch.tensor(indices).to(self.device, non_blocking=True)
        longest = int(self.symbols[indices].max()), int(self.frames[indices].max())
        return self.resident.gather(rows, symbols or longest[0], frames or longest[1])


class Resident:
    """All utterances end to end in the device's memory."""

    def __init__(self, examples: Sequence[Example], device: torch.device) -> None:
        ids: list[int] = []
        mels = []
        counts, lengths = [], []
        for example in examples:  # once: a large corpus is opened file by file
            ids += example.ids
            mels.append(torch.from_numpy(np.array(example.mel)).to(device))
            counts.append(len(example.ids))
            lengths.append(len(example.mel))
        self.ids, self.mels = torch.tensor(ids, device=device), torch.cat(mels)
        self.symbols, self.frames = torch.tensor(counts, device=device), torch.tensor(lengths, device=device)
        self.first_symbol = self.symbols.cumsum(0) - self.symbols
        self.first_frame = self.frames.cumsum(0) - self.frames

    def gather(self, rows: Tensor, symbols: int, frames: int) -> Batch:
        """rows (B,) indices on the device -> a batch padded to `symbols` and `frames`. The host is not asked."""
        counts, lengths = self.symbols[rows], self.frames[rows]
        ids = _cut(self.ids, self.first_symbol[rows], counts, symbols)
        return Batch(ids, counts, _cut(self.mels, self.first_frame[rows], lengths, frames), lengths)


def _cut(flat: Tensor, first: Tensor, lengths: Tensor, size: int) -> Tensor:
    """flat (total, ...) -> (B, size, ...): `lengths` entries from `first` on, then zeros."""
    place = torch.arange(size, device=flat.device)
    inside = place < lengths[:, None]
    cut = flat[(first[:, None] + place).where(inside, 0)]
    return cut.where(inside if flat.ndim == 1 else inside[:, :, None], 0)
