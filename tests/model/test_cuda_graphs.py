"""The padded shapes of captured updates."""

import numpy as np

from benchmarks.lengths import draw
from model.cuda_graphs import Shapes
from model.data.batching import Batches


def test_every_batch_fits_its_shape_and_padding_is_small() -> None:
    symbols, frames = draw(13_100, seed=0)
    shapes, batches = Shapes(symbols, frames), Batches(frames.tolist(), 256, seed=0)
    padded = valid = 0
    seen = set()
    for _ in range(52):
        batch = next(batches)
        shape = shapes.of(int(frames[batch].max()))
        seen.add(shape)
        assert symbols[batch].max() <= shape[0]
        assert frames[batch].max() <= shape[1]
        valid, padded = valid + int(frames[batch].sum()), padded + len(batch) * shape[1]
    assert 1 - valid / padded < 0.07
    assert 1 < len(seen) <= 16


def test_a_corpus_of_equal_lengths_has_one_shape() -> None:
    assert Shapes(np.array([5, 7]), np.array([30, 30])).of(30) == (7, 30)
