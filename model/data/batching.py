"""Draw seeded, length-bucketed, endless batches of utterance indices, and divide a batch among ranks."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

POOL = 32  # batches whose utterances are sorted by length together: 2 % of the frames are padding, 34 % in random order
SPREAD = 0.05  # of the lengths by which a corpus of one pool is sorted, drawn in each epoch: 6 % of its frames are padding


class Batches(Iterator[list[int]]):
    """An endless iterator over lists of indices: `batch_size` utterances each, or as many as fit into `batch_frames` if > 0.

    `batch_frames` counts padding. The order of an epoch follows from (seed, epoch), so `epoch` and `index` are the complete
    position. No utterance is left out: batches are a little smaller where their number does not divide, so that small corpora
    train, too.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, epoch: int = 0, index: int = 0, batch_frames: int = 0
    ) -> None:
        if not lengths:
            raise ValueError("need at least one utterance for a batch, got none: add recordings")
        self.lengths = np.asarray(lengths)
        self.batch_size = max(1, int(batch_frames / self.lengths.mean())) if batch_frames else batch_size
        self.batch_frames = batch_frames
        self.seed = seed
        self.epoch, self.index = epoch, index  # of the next batch
        self._plan = self._shuffled_epoch()

    def __next__(self) -> list[int]:
        if self.index >= len(self._plan):
            self.epoch, self.index = self.epoch + 1, 0
            self._plan = self._shuffled_epoch()
        self.index += 1
        return self._plan[self.index - 1]

    def _shuffled_epoch(self) -> list[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        sizes = self.lengths.astype(float)
        if len(order) <= POOL * self.batch_size:  # else every epoch would have the same pool, and the same batches
            sizes *= random.uniform(1 - SPREAD, 1 + SPREAD, len(sizes))
        plan: list[list[int]] = []
        count = math.ceil(len(order) / self.batch_size)
        edges = [len(order) * place // count for place in range(count + 1)]  # no rest, which would be the longest one alone
        for first in range(0, count, POOL):
            inner = edges[first : first + POOL + 1]
            part = order[inner[0] : inner[-1]]
            ascending = part[np.argsort(sizes[part], kind="stable")]
            if self.batch_frames:
                plan += self._cut(ascending.tolist())
            else:
                plan += [ascending[start - inner[0] : end - inner[0]].tolist() for start, end in pairwise(inner)]
        return [plan[index] for index in random.permutation(len(plan))]

    def _cut(self, ascending: list[int]) -> list[list[int]]:
        """Cut utterances, about the shortest first, into batches that are full of frames, the longest ones first."""
        batches: list[list[int]] = [[]]
        longest = 0
        for utterance in reversed(ascending):
            longest = max(longest, int(self.lengths[utterance]))
            if batches[-1] and (len(batches[-1]) + 1) * longest > self.batch_frames:
                batches.append([])
                longest = int(self.lengths[utterance])
            batches[-1].append(utterance)
        return batches


def shares(batch: Sequence[int], lengths: np.ndarray, ranks: int) -> list[list[int]]:
    """Divide a batch among ranks: the longest utterance first, each to the rank with the fewest frames so far.

    Ties go to the lowest rank, so that the first min(ranks, utterances) ranks have a share.
    """
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    frames = [0] * ranks
    for index in sorted(batch, key=lambda index: -int(lengths[index])):
        rank = frames.index(min(frames))
        dealt[rank].append(index)
        frames[rank] += int(lengths[index])
    return dealt
