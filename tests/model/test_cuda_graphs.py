"""Recorded updates, with the recording emulated on a CPU: their shapes, inputs and warm-up, and what replaces them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch

from benchmarks.lengths import draw
from model import cuda_graphs
from model.config import Config, Training
from model.cuda_graphs import EAGER, CapturedUpdate, Shapes
from model.data.batching import Batches
from model.data.loading import Batch, Loader
from model.recorder import NotRecordedError
from model.trainer import Trainer
from tests.conftest import tiny_config, without_dropout
from tests.model.test_trainer import trainer

T = TypeVar("T")


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


class Emulated:
    """Records nothing: a replay runs the work again, on the tensors that a graph would read."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails, self.recordings, self.replays = fails, 0, 0

    def apart(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, run: Callable[[], T]) -> Callable[[], T]:
        if self.fails is not None:
            raise self.fails
        self.recordings += 1

        def replay() -> T:
            self.replays += 1
            return run()

        return replay


def captured(run: Trainer, recorder: Emulated) -> Trainer:
    run.captured = CapturedUpdate(run.update, run.train, run.config.training.batch_size, recorder)
    return run


def still() -> Config:
    """Without dropout, so that padding to a shape draws no other masks."""
    return replace(tiny_config(), network=replace(without_dropout(), drop_frame_rate=0.0), training=Training(batch_size=4))


def test_replayed_updates_train_as_eager_ones_do_without_a_resident_corpus() -> None:
    recorder = Emulated()
    plain, recorded = trainer(still()), captured(trainer(still()), recorder)
    assert recorded.train.resident is None
    for one, other in zip(plain.reports(), recorded.reports(), strict=True):
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-4)
        assert other.gradients.median == pytest.approx(one.gradients.median, rel=1e-3)
    assert recorder.replays > recorded.cursor.updates / 2


def test_a_shape_warms_up_once_in_a_process_and_each_trial_updates_once_before_it_records() -> None:
    """Adam's moments are made by the first update of a trial; kernels are compiled by the first of a process."""
    cuda_graphs._seen.clear()
    counts = []
    for _ in range(2):
        recorder = Emulated()
        run = captured(trainer(still()), recorder)
        for _ in run.reports():
            pass
        counts.append(run.cursor.updates - recorder.replays)
        shapes = recorder.recordings
    assert counts == [EAGER * shapes, 1]


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (NotRecordedError("operation not permitted when stream is capturing"), "not permitted when stream is capturing"),
        (torch.OutOfMemoryError("out of memory"), "memory of their graphs is needed"),
    ],
)
def test_what_cannot_be_recorded_is_trained_without_graphs_and_told_once(failure: Exception, sentence: str) -> None:
    plain, failing = trainer(still()), captured(trainer(still()), Emulated(failure))
    first, *_ = list(plain.reports())
    again, *_ = list(failing.reports())
    assert again.val_loss == pytest.approx(first.val_loss, rel=1e-4)
    assert failing.captured is None
    assert failing.cursor.part is None
    assert [sentence in remark for remark in failing.remarks] == [True]


def test_validation_out_of_memory_gives_up_the_graphs_and_then_halves() -> None:
    run = captured(trainer(still()), Emulated())
    losses, _ = run.validate()
    run.validation = Limited(run.validation, most=2)
    parts, _ = run.validate()
    assert run.captured is None
    assert set(run.validation.sizes) == {2, 1}
    assert run.cursor.part is None, "validation says nothing about the size of a training batch"
    assert parts.mel_before == pytest.approx(losses.mel_before, rel=1e-4)


class Limited(Loader):
    """A loader of batches of at most `most` utterances: larger ones do not fit."""

    def __init__(self, loader: Loader, most: int) -> None:
        super().__init__(loader.examples, loader.device)
        self.most, self.sizes = most, list[int]()

    def __call__(self, indices: Sequence[int], symbols: int | None = None, frames: int | None = None) -> Batch:
        if len(indices) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append(len(indices))
        return super().__call__(indices, symbols, frames)
