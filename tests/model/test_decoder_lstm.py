"""The LSTM as one Function equals the plain one, forward and backward; with it the decoder applies dropout to its state."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model import tacotron2
from model.data.loading import Batch, collate
from model.decoder import Decoder
from model.layers import ifog
from model.recurrence.decoder_lstm import _LSTM, lstm
from model.tacotron2 import Outputs, Tacotron2
from tests.conftest import BANDS, SYMBOLS, toy_examples, without_dropout

SHAPES = {"usual": (6, 3), "one step": (1, 4), "one utterance": (5, 1)}  # T, B
H = 7
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
masked = pytest.mark.parametrize("dropout", [False, True], ids=["no dropout", "shared masks"])


def draw(shape: tuple[int, int], dropout: bool, features: int = H) -> tuple[Tensor, Tensor, Tensor | None]:
    torch.manual_seed(sum(shape))
    gates = torch.randn(*shape, 4 * features, dtype=torch.float64).requires_grad_()
    recurrent = (features**-0.5 * torch.randn(4 * features, features, dtype=torch.float64)).requires_grad_()
    mask = (torch.rand(*shape, features, dtype=torch.float64) > 0.3) / 0.7
    return gates, recurrent, mask if dropout else None


def plain(gates: Tensor, recurrent: Tensor, dropout: Tensor | None) -> Tensor:
    hidden = cell = gates.new_zeros(gates.shape[1], recurrent.shape[1])
    states = []
    for t, given in enumerate(gates):
        enter, forget, leave, new = (given + hidden @ recurrent.t()).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh() * (1 if dropout is None else dropout[t])
        states.append(hidden)
    return torch.stack(states)


def run(hidden: Tensor, *leaves: Tensor) -> list[Tensor]:
    """Return the states and the gradients of the leaves, where each number of the states has a gradient of its own."""
    weight = torch.randn(hidden.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [hidden.detach(), *torch.autograd.grad((hidden.double() * weight).sum(), leaves, retain_graph=True)]


def errors(ours: list[Tensor], exact: list[Tensor]) -> float:
    """Return the largest relative error, in norm."""
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in zip(ours, exact, strict=True))


@masked
@shapes
def test_it_equals_the_plain_lstm(shape: tuple[int, int], dropout: bool) -> None:
    gates, recurrent, mask = draw(shape, dropout)
    ours, theirs = (run(how(gates, recurrent, mask), gates, recurrent) for how in (lstm, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@masked
@shapes
def test_gradcheck(shape: tuple[int, int], dropout: bool) -> None:
    assert torch.autograd.gradcheck(_LSTM.apply, draw(shape, dropout, features=3))


def test_without_dropout_it_equals_the_librarys() -> None:
    torch.manual_seed(0)
    library = nn.LSTM(5, H).double()
    x = torch.randn(6, 3, 5, dtype=torch.float64, requires_grad=True)
    input_weight, recurrent, *biases = library.parameters()
    hidden = lstm(x @ ifog(input_weight).t() + ifog(biases[0] + biases[1]), ifog(recurrent), None)
    leaves = [x, *library.parameters()]
    torch.testing.assert_close(run(hidden, *leaves), run(library(x)[0], *leaves), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["fp32", "bf16"])
def test_other_types_of_gates_are_close(dtype: torch.dtype, bound: float) -> None:
    """After sixty steps, sums in half precision would be far off. Weights are in single precision for all types."""
    gates, recurrent, mask = draw((60, 3), dropout=True, features=32)
    assert mask is not None
    gates, recurrent = gates.detach().to(dtype).requires_grad_(), recurrent.detach().float().requires_grad_()
    mask = mask.to(dtype)
    ours = run(lstm(gates, recurrent, mask), gates, recurrent)
    exact = gates.detach().double().requires_grad_(), recurrent.detach().double().requires_grad_()
    assert errors(ours, run(plain(*exact, mask.double()), *exact)) < bound
    assert [value.dtype for value in ours] == [dtype, dtype, torch.float32]


def test_cell_states_are_in_single_precision_for_half_precision_gates() -> None:
    """Each of 500 steps adds a thousandth to a cell that forgets nothing: in bf16 the sum would stop at a quarter."""
    gates = torch.tensor([20.0, 20.0, 20.0, 1e-3]).repeat_interleave(H).expand(500, 2, -1).bfloat16()
    hidden = lstm(gates, torch.zeros(4 * H, H), None)
    assert hidden.dtype == torch.bfloat16
    torch.testing.assert_close(hidden[-1].float(), torch.full((2, H), 0.5).tanh(), rtol=1e-2, atol=0)


def test_the_backward_pass_may_run_twice() -> None:
    gates, recurrent, mask = draw((5, 3), dropout=True)
    hidden = lstm(gates, recurrent, mask)
    first = run(hidden, gates, recurrent)
    torch.testing.assert_close(run(hidden, gates, recurrent), first, rtol=0, atol=0)


def test_an_expanded_gradient_is_accepted() -> None:
    gates, recurrent, mask = draw((5, 3), dropout=True)
    ours, theirs = (torch.autograd.grad(how(gates, recurrent, mask).sum(), [gates, recurrent]) for how in (lstm, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def build(mode: str, r: int = 1, **dropouts: float) -> Tacotron2:
    torch.manual_seed(0)
    network = without_dropout(decoder_dropout_mode=mode, reduction=r, **dropouts)
    return Tacotron2(network, SYMBOLS, BANDS, 0.3, 1.7).double()


def batch_of(count: int) -> Batch:
    batch = collate(toy_examples(count, 3))
    return replace(batch, mels=batch.mels.double())


def drop(decoder: Decoder, name: str, masks: list[Tensor]) -> None:
    """Multiply the states of an LSTM of the decoder by one mask in each step from now on."""
    step, remaining = getattr(decoder, name), iter(masks)

    def masked(parts: list[Tensor], cell: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = step(parts, cell)
        return hidden * next(remaining), cell

    setattr(decoder, name, masked)


@pytest.mark.parametrize("r", [1, 2])
def test_the_training_pass_with_state_dropout_equals_the_stepwise_decoder(r: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder of synthesis gets the masks of a training pass: both LSTMs receive their own state after dropout."""
    network, batch, drawn = build("state", r, attention_dropout=0.3, decoder_dropout=0.6), batch_of(3), []
    draw_mask = tacotron2.dropout_mask
    monkeypatch.setattr(tacotron2, "dropout_mask", lambda *given: drawn.append(draw_mask(*given)) or drawn[-1])
    outputs: Outputs = network(batch)
    assert [float((mask == 0).double().mean()) for mask in drawn] == pytest.approx([0.3, 0.6], abs=0.1)
    decoder = Decoder(network, batch.ids, batch.symbol_lengths)
    for name, masks in zip(("attend", "decode"), drawn, strict=True):
        drop(decoder, name, list(masks))
    target = (batch.mels - network.mel_mean) / network.mel_std
    state, mels, gates = decoder.start(), [], []
    for t in range(outputs.gate.shape[1]):
        state, frames, gate = decoder.step(state)
        mels.append(frames * network.mel_std + network.mel_mean)
        gates.append(gate)
        state = replace(state, frame=target[:, min((t + 1) * r, target.shape[1]) - 1])
    for row, frames in enumerate(batch.frame_lengths.tolist()):
        steps = -(-frames // r)
        torch.testing.assert_close(outputs.mel_before[row, :frames], torch.cat(mels, 1)[row, :frames])
        torch.testing.assert_close(outputs.gate[row, :steps], torch.stack(gates, 1)[row, :steps])


def test_the_mode_changes_training_but_not_evaluation() -> None:
    batch, modes = batch_of(3), [build(mode, decoder_dropout=0.4) for mode in ("state", "outputs")]

    def mels() -> list[Tensor]:
        values = []
        for network in modes:
            torch.manual_seed(1)
            values.append(network(batch).mel_before)
        return values

    dropped = mels()
    assert float((dropped[0] - dropped[1]).detach().abs().max()) > 1e-3
    for network in modes:
        network.eval()
    torch.testing.assert_close(*mels(), rtol=1e-10, atol=1e-12)


def test_without_dropout_both_modes_are_equal() -> None:
    batch, gradients = batch_of(3), []
    for mode in ("state", "outputs"):
        network = build(mode)
        gradients.append(torch.autograd.grad(network(batch).mel_after.square().mean(), list(network.decoder_rnn.parameters())))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["state", "outputs"])
def test_half_precision_is_close_to_single(mode: str) -> None:
    """A seed drops the same states in all types."""
    batch, losses = collate(toy_examples(3, 3)), []
    network = build(mode, decoder_dropout=0.4).float()
    for half in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses.append(network(batch).mel_before)
    single, half_precise = losses
    assert 0 < float((half_precise - single).detach().norm() / single.detach().norm()) < 0.02
