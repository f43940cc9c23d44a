"""Batches are padded with zeros at the end, and equal whether mels come from files or from the device's memory."""

import pytest
import torch

from model.data.loading import Loader, Resident, collate
from tests.conftest import toy_examples

CPU = torch.device("cpu")


def test_collate_pads_with_zeros_at_the_end() -> None:
    examples = toy_examples(3, 0)
    batch = collate(examples)
    for row, example in enumerate(examples):
        assert batch.ids[row].tolist() == [*example.ids, *[0] * (batch.ids.shape[1] - len(example.ids))]
        assert (batch.mels[row, : len(example.mel)].numpy() == example.mel).all()
        assert (batch.mels[row, len(example.mel) :] == 0).all()


@pytest.mark.parametrize("padded", [(None, None), (40, 90)])
def test_a_resident_corpus_gives_the_batches_that_are_read(padded: tuple[int | None, int | None]) -> None:
    examples = toy_examples(9, 0)
    loader = Loader(examples, CPU)
    read = loader([4, 0, 8], *padded)
    loader.resident = Resident(examples, CPU)
    gathered = loader([4, 0, 8], *padded)
    for name in ("ids", "symbol_lengths", "mels", "frame_lengths"):
        assert torch.equal(getattr(read, name), getattr(gathered, name)), name


def test_a_mel_that_is_not_finite_stays_in_its_row() -> None:
    examples = toy_examples(3, 0)
    examples[1].mel[:] = float("nan")
    resident = Resident(examples, CPU).gather(torch.tensor([0, 1, 2]), 40, 90)
    assert resident.mels[[0, 2]].isfinite().all()
    assert (resident.mels[1, len(examples[1].mel) :] == 0).all()
