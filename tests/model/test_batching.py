"""Batches: everything once an epoch, the cursor says it all, little is wasted on padding."""
import numpy as np
import pytest

from model.data.batching import Batches, collate
from tests.conftest import toy_examples


def take(batches: Batches, count: int) -> list[list[int]]:
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 8), (1, 1), (130, 4)])
def test_an_epoch_holds_every_utterance_once(count: int, size: int) -> None:
    batches = Batches(list(range(count)), size, seed=0)
    for _ in range(3):
        epoch = take(batches, batches.per_epoch)
        assert sorted(index for batch in epoch for index in batch) == list(range(count))
        assert max(map(len, epoch)) <= size


def test_the_cursor_alone_says_where_it_stands() -> None:
    lengths = list(range(50))
    straight = take(Batches(lengths, 4, seed=7), 40)
    assert take(Batches(lengths, 4, seed=7, consumed=17), 23) == straight[17:]
    assert take(Batches(lengths, 4, seed=8), 40) != straight


def test_sorted_pools_waste_little() -> None:
    random = np.random.default_rng(0)
    lengths = random.gamma(9, 60, size=2_000).astype(int) + 30
    batches = Batches(lengths.tolist(), 32, seed=0)
    epoch = take(batches, batches.per_epoch)
    padded = sum(max(lengths[batch]) * len(batch) for batch in epoch)
    assert 1 - lengths.sum() / padded < 0.07


def test_collate_pads_with_zeros_at_the_end() -> None:
    examples = toy_examples(3, 0)
    batch = collate(examples)
    assert batch.frames == sum(len(example.mel) for example in examples)
    for row, example in enumerate(examples):
        assert batch.ids[row].tolist() == [*example.ids, *[0] * (batch.ids.shape[1] - len(example.ids))]
        assert (batch.mels[row, : len(example.mel)].numpy() == example.mel).all()
        assert (batch.mels[row, len(example.mel) :] == 0).all()
