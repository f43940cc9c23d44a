"""Bugs of published Tacotron 2 trainers, each with the test that ours does not have it (in this file if none is named).

NVIDIA: the postnet's gradient is that of an input masked after it was saved; DLE: the same, as an error
    -> test_the_postnets_gradient_is_that_of_the_loss, test_tacotron2.test_padding_changes_neither_loss_nor_gradient
SpeechBrain: the masked mel before the postnet is discarded -> test_padding_is_masked_before_and_after_the_postnet
SpeechBrain: a validation is its last batch -> test_trainer.test_validation_counts_frames_not_batches
coqui: the guard against endless speech counts utterances, not symbols
    -> test_synthesis.test_a_gate_that_never_fires_ends_at_the_limit_of_each_text
coqui: a weight of zero breaks the loss -> test_a_term_can_be_switched_off
coqui, ESPnet: one window of attention for a batch -> test_decoder.test_the_attention_stays_in_the_window_of_each_utterance
ESPnet: no inference in batches -> test_synthesis.test_a_batch_of_two_equals_two_batches_of_one
NVIDIA: each epoch in the same order -> test_no_two_epochs_have_the_same_order
NVIDIA: a corpus smaller than a batch is never trained on -> test_the_smallest_corpus_is_trained_on
NVIDIA: the state of the random generators is not saved -> test_trainer.test_a_resumed_run_equals_an_uninterrupted_one
NVIDIA: masks are made on a GPU only -> test_a_mask_is_made_on_the_device_of_its_lengths
NVIDIA: batch norm counts padding -> test_tacotron2.test_padding_does_not_move_the_running_statistics
NeMo: free-running mels are compared with targets of other lengths -> test_mels_of_different_lengths_are_aligned_in_time
DLE: a switch set to False is on -> test_false_is_false
DLE: the lengths of synthesis are off by one -> test_synthesis.test_the_step_whose_gate_fires_is_the_last
ForwardTacotron: a step back counts as a step forward -> test_a_step_back_counts_as_one

Our code has no place for two other bugs of coqui: a term with the weight of another one, and a second decoder that misses a
change of r.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import Loss, Training
from model.data.batching import Batches
from model.data.loading import Batch, collate
from model.distortion import mcd
from model.health import measure_alignment
from model.layers import valid_mask
from model.loss import terms, total
from model.tacotron2 import Tacotron2
from model.trainer import Trainer
from objective.settings.resolve import resolve
from tests.conftest import BANDS, SYMBOLS, tiny_config, toy_examples, toy_speech, without_dropout

CPU = torch.device("cpu")
LOSS = Loss()


def test_the_table_names_existing_tests() -> None:
    tests = re.findall(r"(?:(\w+)\.)?(test_\w+)(?=[,\n])", __doc__)
    assert len(tests) > 15
    for file, name in tests:
        path = Path(__file__).with_name(f"{file}.py") if file else Path(__file__)
        assert f"\ndef {name}(" in path.read_text(encoding="utf-8"), f"{path.name}: {name}"


def double(r: int = 1) -> tuple[Tacotron2, Batch]:
    """Build a network in training mode, without dropout, and a batch of different lengths."""
    torch.manual_seed(0)
    batch = collate(toy_examples(3, 4))
    assert batch.frame_lengths.max() > batch.frame_lengths.min() + 3
    return Tacotron2(without_dropout(reduction=r), SYMBOLS, BANDS, 0.3, 1.7).double(), replace(batch, mels=batch.mels.double())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_postnets_gradient_is_that_of_the_loss(layer: int) -> None:
    """It is compared with finite differences on a batch in which the convolution reads padding next to speech."""
    network, batch = double()

    def loss() -> torch.Tensor:
        return total(terms(network(batch), batch, network.mel_std, LOSS), LOSS, 1.0)

    weight = network.postnet.convolutions[layer].convolution.weight
    (gradient,) = torch.autograd.grad(loss(), [weight])
    for place in torch.randint(weight.numel(), (6,)).tolist():
        values = weight.data.view(-1)
        before, ends = values[place].clone(), []
        for step in (1e-6, -1e-6):
            values[place] = before + step
            ends.append(float(loss().detach()))
        values[place] = before
        assert float(gradient.flatten()[place]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("r", [1, 2])
def test_padding_is_masked_before_and_after_the_postnet(r: int) -> None:
    network, batch = double(r)
    outputs = network(batch)
    for mel in (outputs.mel_before, outputs.mel_after):
        assert mel[~valid_mask(batch.frame_lengths)].abs().max() == 0


def test_a_term_can_be_switched_off() -> None:
    config = replace(tiny_config(), loss=Loss(guided_weight=0.0))
    reports = list(Trainer(config, toy_speech(), 1, 2, CPU, seed=5).reports())
    assert len(reports) == 2
    assert all(report.val_loss is not None and report.guided_weight == 0 for report in reports)


def test_no_two_epochs_have_the_same_order() -> None:
    batches = Batches(list(range(1, 41)), 4, seed=0)
    epochs = [str([next(batches) for _ in range(10)]) for _ in range(5)]
    assert len(set(epochs)) == 5


@pytest.mark.parametrize("utterances", [1, 3])
def test_the_smallest_corpus_is_trained_on(utterances: int) -> None:
    config = replace(tiny_config(), training=Training(batch_size=64))
    trainer = Trainer(config, toy_speech(utterances, 1), 0.5, 2, CPU, seed=5)
    before = trainer.network.projection.weight.detach().clone()
    assert len(list(trainer.reports())) == 2
    assert trainer.cursor.frames >= 500
    assert not torch.equal(trainer.network.projection.weight, before)


def test_a_mask_is_made_on_the_device_of_its_lengths() -> None:
    assert valid_mask(torch.ones(2, dtype=torch.int64, device="meta"), 3).device.type == "meta"
    assert valid_mask(torch.tensor([1, 3])).tolist() == [[True, False, False], [True, True, True]]


def test_mels_of_different_lengths_are_aligned_in_time() -> None:
    """A mel at half the pace has no distortion; cut to the same length it would have."""
    mel = np.random.default_rng(0).normal(size=(30, 80)).astype(np.float32).cumsum(0)
    slow = np.repeat(mel, 2, 0)
    assert mcd(slow, mel) < 1e-3 < mcd(slow[:30], mel)


@pytest.mark.parametrize("value", ["False", "false", "no", "0"])
def test_false_is_false(value: str) -> None:
    settings = resolve(None, [f"network.standardise={value}"], {}, gpu=False)
    assert settings.network.standardise is False
    with pytest.raises(ValueError, match="need a valid boolean"):
        resolve(None, [f"network.standardise=not {value}"], {}, gpu=False)


def test_a_step_back_counts_as_one() -> None:
    """One path goes straight on, the other goes back by one symbol for every fourth of them; each symbol lasts four steps.

    A movement of half a symbol does not count.
    """
    for pattern, back in (([0, 1, 2, 3], 0), ([0, 1, 2, 1], 0.5)):
        path = torch.tensor([start + place for start in range(0, 40, 4) for place in pattern]).repeat_interleave(4)
        attention = torch.eye(40)[path][None]
        lengths = torch.tensor([160]), torch.tensor([40])
        assert float(measure_alignment(attention, *lengths)["backtrack"]) == pytest.approx(10 * back / 40)
