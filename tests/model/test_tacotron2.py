"""Laws of the network: padding has no effect, batches equal single utterances, no step depends on the future, and the
training pass equals the step-wise decoder."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import Loss, Network
from model.data.loading import Batch, collate
from model.decoder import Decoder
from model.layers import BidirectionalLSTM, MaskedBatchNorm, valid_mask
from model.loss import terms, total
from model.tacotron2 import Outputs, Tacotron2
from model.trainer import Trainer
from tests.conftest import BANDS, SYMBOLS, tiny_config, tiny_network, toy_examples, toy_speech, without_dropout

LOSS = Loss(guided_weight=1.0)


def build(network: Network) -> Tacotron2:
    torch.manual_seed(0)
    return Tacotron2(network, SYMBOLS, BANDS, 0.3, 1.7).double()


def batch_of(count: int, seed: int = 3) -> Batch:
    batch = collate(toy_examples(count, seed))
    return replace(batch, mels=batch.mels.double())


def padded(batch: Batch, symbols: int, frames: int) -> Batch:
    """Add padding to a batch, with content that would change the results if it were used."""
    ids = torch.cat([batch.ids, torch.full((len(batch.ids), symbols), 5)], 1)
    mels = torch.cat([batch.mels, torch.full((len(batch.mels), frames, BANDS), 9.0, dtype=batch.mels.dtype)], 1)
    return replace(batch, ids=ids, mels=mels)


def loss_and_gradients(network: Tacotron2, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    outputs = network(batch)
    loss = total(terms(outputs, batch, network.mel_std, LOSS), LOSS, LOSS.guided_weight)
    return loss, list(torch.autograd.grad(loss, list(network.parameters())))


def test_the_defaults_have_nvidias_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Tacotron2(Network(), 148, 80)
    assert sum(parameter.numel() for parameter in network.parameters()) == 28_193_153


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_padding_changes_neither_loss_nor_gradient(how: str, r: int, training: bool) -> None:
    network = build(without_dropout(reduction=r, recurrence=how)).train(training)
    batch = batch_of(4)
    more = loss_and_gradients(network, padded(batch, 3, 7))
    torch.testing.assert_close(more, loss_and_gradients(network, batch), rtol=1e-9, atol=1e-11)


def test_padding_does_not_move_the_running_statistics() -> None:
    batch = batch_of(4)
    statistics = []
    for given in (batch, padded(batch, 3, 7)):
        network = build(without_dropout()).train()
        network(given)
        statistics.append({name: value for name, value in network.named_buffers() if "running" in name})
    torch.testing.assert_close(statistics[1], statistics[0])


@pytest.mark.parametrize("r", [1, 2])
def test_a_batch_of_two_equals_two_batches_of_one(r: int) -> None:
    network = build(without_dropout(reduction=r)).eval()
    examples = toy_examples(2, 4)
    both = network(replace(collate(examples), mels=collate(examples).mels.double()))
    for row, example in enumerate(examples):
        one = collate([example])
        alone = network(replace(one, mels=one.mels.double()))
        frames, steps = len(example.mel), int(alone.step_lengths[0])
        torch.testing.assert_close(both.mel_after[row, :frames], alone.mel_after[0])
        torch.testing.assert_close(both.gate[row, :steps], alone.gate[0])
        torch.testing.assert_close(both.alignment[row, :steps, : len(example.ids)], alone.alignment[0])


@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_future_frame_has_no_gradient(r: int) -> None:
    """Before the postnet, which has no direction, the outputs of step t depend only on frames of the steps before t."""
    network = build(without_dropout(reduction=r)).eval()
    batch = batch_of(1)
    batch = replace(batch, mels=batch.mels.requires_grad_())
    outputs = network(batch)
    step = 2
    total_output = outputs.mel_before[0, step * r : (step + 1) * r].sum() + outputs.gate[0, step]
    (gradient,) = torch.autograd.grad(total_output, batch.mels)
    assert gradient[0, step * r :].abs().max() == 0
    assert gradient[0, step * r - 1].abs().max() > 0


def test_attention_rows_sum_to_one() -> None:
    outputs: Outputs = build(tiny_network()).train()(batch_of(4))
    torch.testing.assert_close(outputs.alignment.sum(2), torch.ones_like(outputs.gate))


@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_the_training_pass_equals_the_stepwise_decoder(how: str, r: int) -> None:
    """The decoder of synthesis gets the true frames, one step at a time."""
    network = build(without_dropout(reduction=r, recurrence=how)).eval()
    batch = batch_of(3)
    outputs = network(batch)
    decoder = Decoder(network, batch.ids, batch.symbol_lengths)
    target = (batch.mels - network.mel_mean) / network.mel_std * valid_mask(batch.frame_lengths)[:, :, None]
    state = decoder.start()
    for t in range(outputs.gate.shape[1]):
        state, frames, gate = decoder.step(state)
        for row in range(len(batch.ids)):
            left = min(r, int(batch.frame_lengths[row]) - t * r)
            if left > 0:
                restored = frames[row, :left] * network.mel_std + network.mel_mean
                torch.testing.assert_close(outputs.mel_before[row, t * r : t * r + left], restored)
                torch.testing.assert_close(outputs.gate[row, t], gate[row])
                torch.testing.assert_close(outputs.alignment[row, t], state.alignment[row])
        if (t + 1) * r <= target.shape[1]:
            state = replace(state, frame=target[:, (t + 1) * r - 1])


def test_prenet_dropout_is_on_in_eval_mode() -> None:
    network = build(tiny_network()).eval()
    batch = batch_of(2)
    assert not torch.equal(network(batch).mel_before, network(batch).mel_before)


def test_drawn_masks_replace_the_prenets_dropout() -> None:
    prenet = build(tiny_network(prenet_dropout=0.75)).prenet
    x = torch.randn(3, 40, BANDS, dtype=torch.float64)
    first, second = masks = torch.rand(2, 6, dtype=torch.float64)
    inner = prenet.layers[0](x).relu() * first
    torch.testing.assert_close(prenet(x, masks), prenet.layers[1](inner).relu() * second)
    drawn = prenet.draw(2_000, torch.Generator().manual_seed(1))
    assert drawn.shape == (2_000, 2, 6)
    assert drawn.unique().tolist() == [0, 4]
    assert abs(float(drawn.mean()) - 1) < 0.05
    generator = torch.Generator().manual_seed(1)
    pieces = [prenet.draw(steps, generator) for steps in (1, 3, 1_996)]
    torch.testing.assert_close(torch.cat(pieces), drawn, rtol=0, atol=0)


def test_the_bidirectional_lstm_equals_the_packed_one() -> None:
    torch.manual_seed(0)
    ours, packed = BidirectionalLSTM(5, 8).double(), torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True).double()
    for direction, suffix in ((ours.forwards, ""), (ours.backwards, "_reverse")):
        for name, value in direction.named_parameters():
            getattr(packed, name + suffix).data.copy_(value.data)
    x, lengths = torch.randn(3, 7, 5, dtype=torch.float64), torch.tensor([7, 2, 4])
    together = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed(together)[0], batch_first=True)
    torch.testing.assert_close(ours(x, lengths), expected)


def test_running_statistics_equal_torchs() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 9)
    ours, theirs = MaskedBatchNorm(3), torch.nn.BatchNorm1d(3)
    for _ in range(3):
        torch.testing.assert_close(ours(x, torch.ones(4, 1, 9)), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("name", ["encoder_dropout", "attention_dropout", "decoder_dropout", "postnet_dropout"])
def test_each_dropout_is_on_in_training_and_off_in_evaluation(name: str) -> None:
    network = build(without_dropout(**{name: 0.5}))
    batch = batch_of(2)
    assert not torch.equal(network.train()(batch).mel_after, network(batch).mel_after)
    assert torch.equal(network.eval()(batch).mel_after, network(batch).mel_after)


def test_dropped_frames_are_the_mean_and_only_in_training() -> None:
    """With all of the teacher's frames dropped, the decoder cannot tell one recording from another, except by its length."""
    network = build(without_dropout(drop_frame_rate=1.0))
    batch = batch_of(4)
    other = replace(batch, mels=batch.mels.flip(2))
    network.eval()
    assert not torch.allclose(network(batch).alignment, network(other).alignment), "validation and synthesis drop nothing"
    network.train()
    torch.testing.assert_close(network(batch).alignment, network(other).alignment)
    mean = replace(batch, mels=torch.full_like(batch.mels, float(network.mel_mean)))
    torch.testing.assert_close(network(batch).alignment, build(without_dropout()).train()(mean).alignment)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7])
def test_the_share_of_dropped_frames_is_the_rate(rate: float) -> None:
    network = build(without_dropout(drop_frame_rate=rate)).train()
    network.mean_frame = 5.0
    frames = torch.zeros(400, 20, BANDS)
    dropped = network._drop_frames(frames) == 5.0
    assert (dropped.all(2) == dropped.any(2)).all(), "a frame is dropped whole"
    assert float(dropped[:, :, 0].double().mean()) == pytest.approx(rate, abs=0.03)


def test_a_network_of_raw_mels_drops_frames_to_the_mean_of_its_corpus() -> None:
    speech = replace(toy_speech(), mel_mean=-4.0, mel_std=2.0)
    for standardise, mean in ((True, 0.0), (False, -4.0)):
        config = tiny_config(drop_frame_rate=0.5, standardise=standardise)
        trainer = Trainer(config, speech, 1.0, 1, torch.device("cpu"), seed=0)
        assert trainer.network.mean_frame == mean
