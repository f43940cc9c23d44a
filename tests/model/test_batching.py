"""Batches hold every utterance once an epoch, are determined by their position, and waste little on padding."""

import numpy as np
import pytest

from model.data.batching import Batches


def take(batches: Batches, count: int) -> list[list[int]]:
    return [next(batches) for _ in range(count)]


def epoch_of(batches: Batches) -> list[list[int]]:
    """Return the batches of the next epoch."""
    epoch = [next(batches)]
    while batches.index < len(batches._plan):
        epoch.append(next(batches))
    return epoch


def speech_like(count: int) -> np.ndarray:
    return np.random.default_rng(0).gamma(9, 60, size=count).astype(int) + 30


@pytest.mark.parametrize("frames", [0, 40])
@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 8), (1, 1), (130, 4)])
def test_an_epoch_holds_every_utterance_once(count: int, size: int, frames: int) -> None:
    batches = Batches(list(range(1, count + 1)), size, seed=0, batch_frames=frames)
    for _ in range(3):
        epoch = epoch_of(batches)
        assert sorted(index for batch in epoch for index in batch) == list(range(count))
        assert frames or max(map(len, epoch)) <= size


@pytest.mark.parametrize("frames", [0, 150])
def test_epoch_and_index_are_the_complete_position(frames: int) -> None:
    lengths = list(range(1, 51))
    straight = Batches(lengths, 4, seed=7, batch_frames=frames)
    take(straight, 37)
    resumed = Batches(lengths, 4, seed=7, epoch=straight.epoch, index=straight.index, batch_frames=frames)
    assert take(resumed, 23) == take(straight, 23)
    assert take(Batches(lengths, 4, seed=8, batch_frames=frames), 40) != take(Batches(lengths, 4, 7, batch_frames=frames), 40)


@pytest.mark.parametrize("frames", [0, 16_000])
def test_sorted_pools_waste_little(frames: int) -> None:
    lengths = speech_like(4_000)
    epoch = epoch_of(Batches(lengths.tolist(), 32, seed=0, batch_frames=frames))
    padded = sum(max(lengths[batch]) * len(batch) for batch in epoch)
    assert 1 - lengths.sum() / padded < 0.05


def test_batches_of_frames_are_nearly_full_and_never_exceed_the_limit() -> None:
    lengths = speech_like(2_000)
    sizes = [len(batch) * lengths[batch].max() for batch in epoch_of(Batches(lengths.tolist(), 1, 0, batch_frames=8_000))]
    assert max(sizes) <= 8_000
    assert np.mean(sizes) > 7_000


def test_an_utterance_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    assert sorted(map(sorted, epoch_of(Batches([50, 900, 50], 1, 0, batch_frames=100)))) == [[0, 2], [1]]


@pytest.mark.parametrize(("count", "size", "frames"), [(1_000, 32, 0), (328, 16, 0), (97, 32, 0), (328, 1, 8_000)])
def test_batches_of_a_small_corpus_vary_from_epoch_to_epoch(count: int, size: int, frames: int) -> None:
    batches = Batches(speech_like(count).tolist(), size, seed=0, batch_frames=frames)
    drawn = [frozenset(batch) for _ in range(20) for batch in epoch_of(batches)]
    assert len(set(drawn)) > 0.85 * len(drawn)


@pytest.mark.parametrize(("count", "size", "frames"), [(33, 32, 0), (97, 32, 0), (1_025, 32, 0), (9, 8, 0), (328, 1, 8_000)])
def test_the_longest_utterance_is_never_a_batch_alone(count: int, size: int, frames: int) -> None:
    lengths = speech_like(count)
    batches = Batches(lengths.tolist(), size, seed=0, batch_frames=frames)
    assert all(len(batch) > 1 for _ in range(20) for batch in epoch_of(batches) if lengths.argmax() in batch)


@pytest.mark.parametrize(("count", "size"), [(1_000, 32), (13_000, 64), (33, 32), (1_025, 32)])
def test_batches_are_as_few_as_can_be_and_equally_large(count: int, size: int) -> None:
    sizes = [len(batch) for batch in epoch_of(Batches(speech_like(count).tolist(), size, seed=0))]
    assert len(sizes) == -(-count // size)
    assert max(sizes) - min(sizes) <= 1
