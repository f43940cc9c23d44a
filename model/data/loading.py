"""Load padded batches of utterances onto the training device. A corpus that fits stays on the GPU and is gathered there.

B batch, N symbols, F mel frames, M mel bands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

RESIDENT_SHARE = 0.1  # of a GPU's total memory that the mels may take; not of its free memory, or parallel trials would differ


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance in the form that the network needs."""

    ids: tuple[int, ...]  # (N,)
    mel: np.ndarray  # (F, M) float32, natural log; may be memory-mapped


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances, padded with zeros at the end."""

    ids: Tensor  # (B, N) int64
    symbol_lengths: Tensor  # (B,) int64
    mels: Tensor  # (B, F, M) float32
    frame_lengths: Tensor  # (B,) int64

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            ids=self.ids.to(device, non_blocking=True),
            symbol_lengths=self.symbol_lengths.to(device, non_blocking=True),
            mels=self.mels.to(device, non_blocking=True),
            frame_lengths=self.frame_lengths.to(device, non_blocking=True),
        )

    def pinned(self) -> "Batch":
        """Return a copy from which a GPU can read while the host goes on."""
        return Batch(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def copy_(self, other: "Batch") -> None:
        """Take over the values of a batch of the same shape."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name), non_blocking=True)


def collate(examples: Sequence[Example], symbols: int | None = None, frames: int | None = None) -> Batch:
    """Pad the examples to the longest one, or to `symbols` and `frames`."""
    counts = torch.tensor([len(example.ids) for example in examples])
    lengths = torch.tensor([len(example.mel) for example in examples])
    ids = torch.zeros(len(examples), symbols or int(counts.max()), dtype=torch.int64)
    mels = torch.zeros(len(examples), frames or int(lengths.max()), examples[0].mel.shape[1])
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mels[row, : len(example.mel)] = torch.from_numpy(np.array(example.mel))
    return Batch(ids, counts, mels, lengths)


class Loader:
    """Loads batches of `examples` onto `device`."""

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
        """Return a batch of these examples, padded to the longest one, or to `symbols` and `frames`."""
        if self.resident is None:
            batch = collate([self.examples[index] for index in indices], symbols, frames)
            return (batch.pinned() if self.device.type == "cuda" else batch).to(self.device)
        rows = torch.tensor(indices).to(self.device, non_blocking=True)
        longest = int(self.symbols[indices].max()), int(self.frames[indices].max())
        return self.resident.gather(rows, symbols or longest[0], frames or longest[1])


class Resident:
    """All utterances, concatenated in the device's memory."""

    def __init__(self, examples: Sequence[Example], device: torch.device) -> None:
        ids: list[int] = []
        mels = []
        counts, lengths = [], []
        for example in examples:  # in one pass: each access to a large corpus opens a file
            ids += example.ids
            mels.append(torch.from_numpy(np.array(example.mel)).to(device))
            counts.append(len(example.ids))
            lengths.append(len(example.mel))
        self.ids, self.mels = torch.tensor(ids, device=device), torch.cat(mels)
        self.symbols, self.frames = torch.tensor(counts, device=device), torch.tensor(lengths, device=device)
        self.first_symbol = self.symbols.cumsum(0) - self.symbols
        self.first_frame = self.frames.cumsum(0) - self.frames

    def gather(self, rows: Tensor, symbols: int, frames: int) -> Batch:
        """Gather rows (B,), indices on the device, into a batch padded to `symbols` and `frames`. The host does not wait."""
        counts, lengths = self.symbols[rows], self.frames[rows]
        ids = _cut(self.ids, self.first_symbol[rows], counts, symbols)
        return Batch(ids, counts, _cut(self.mels, self.first_frame[rows], lengths, frames), lengths)


def _cut(flat: Tensor, first: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Cut flat (total, ...) into (B, size, ...): `lengths` entries from `first` on, then zeros."""
    place = torch.arange(size, device=flat.device)
    inside = place < lengths[:, None]
    cut = flat[(first[:, None] + place).where(inside, 0)]
    return cut.where(inside if flat.ndim == 1 else inside[:, :, None], 0)
