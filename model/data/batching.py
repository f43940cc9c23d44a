"""Utterances -> padded batches: seeded, length-bucketed, endless. The cursor is one number, the batches consumed.

B batch, N symbols, F mel frames, M mel bands.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

POOL = 16  # batches that are sorted by length together: 5 % of the frames are padding, against 40 % at random


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
    frames: int  # valid mel frames: the resource that a trial spends

    def to(self, device: torch.device) -> "Batch":
        every = (self.ids, self.symbol_lengths, self.mels, self.frame_lengths)
        ids, symbol_lengths, mels, frame_lengths = (tensor.to(device, non_blocking=True) for tensor in every)
        return Batch(ids, symbol_lengths, mels, frame_lengths, self.frames)


def collate(examples: Sequence[Example]) -> Batch:
    """Pad to the longest utterance."""
    symbols = torch.tensor([len(example.ids) for example in examples])
    frames = torch.tensor([len(example.mel) for example in examples])
    ids = torch.zeros(len(examples), int(symbols.max()), dtype=torch.int64)
    mels = torch.zeros(len(examples), int(frames.max()), examples[0].mel.shape[1])
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mels[row, : len(example.mel)] = torch.from_numpy(np.array(example.mel))
    return Batch(ids, symbols, mels, frames, int(frames.sum()))


class Batches(Iterator[list[int]]):
    """Endless lists of indices. An epoch's order follows from (seed, epoch), so `consumed` alone says where it stands.

    No utterance is left out: the last batch of an epoch may be smaller, so small corpora train too.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, consumed: int = 0) -> None:
        if not lengths:
            raise ValueError("need at least one utterance to make batches of, got none")
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.consumed = consumed
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch = -1
        self._plan: list[list[int]] = []

    def __next__(self) -> list[int]:
        epoch, index = divmod(self.consumed, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._plan = epoch, self._shuffled(epoch)
        self.consumed += 1
        return self._plan[index]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.lengths))
        pool = POOL * self.batch_size
        order = np.concatenate([
            part[np.argsort(self.lengths[part], kind="stable")]
            for part in (order[start : start + pool] for start in range(0, len(order), pool))
        ])
        plan = [order[start : start + self.batch_size].tolist() for start in range(0, len(order), self.batch_size)]
        return [plan[index] for index in random.permutation(len(plan))]
