"""Masked batch norm equals the plain formula over valid positions, gradients included; a block leaves zeros on padding."""

import pytest
import torch
from torch import Tensor, nn

from model.layers import MOMENTUM, Activation, ConvolutionBlock, MaskedBatchNorm, library_has_bf16, run_lstm, valid_mask

C = 3
LENGTHS = {"ragged": [9, 4, 7], "no padding": [9, 9, 9], "one utterance": [6], "one position": [1]}
lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def draw(lengths: list[int], size: int = 9) -> tuple[MaskedBatchNorm, Tensor, Tensor]:
    """Draw a norm, x (B, C, L) that is not zero on padding, and a mask (B, 1, L)."""
    torch.manual_seed(len(lengths))
    norm = MaskedBatchNorm(C).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = (3 + 2 * torch.randn(len(lengths), C, size, dtype=torch.float64)).requires_grad_()
    return norm, x, valid_mask(torch.tensor(lengths), size)[:, None].double()


def plain(norm: MaskedBatchNorm, x: Tensor, mask: Tensor) -> Tensor:
    mean = (x * mask).sum((0, 2), keepdim=True) / mask.sum()
    variance = ((x - mean).square() * mask).sum((0, 2), keepdim=True) / mask.sum()
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None] + norm.bias[:, None]


@pytest.mark.parametrize("everywhere", [True, False], ids=["gradient everywhere", "on valid positions"])
@lengths
def test_it_equals_the_plain_formula_and_so_do_its_gradients(lengths: list[int], everywhere: bool) -> None:
    norm, x, mask = draw(lengths)
    weight = torch.randn_like(x) * (1 if everywhere else mask)
    found = {}
    for name, y in (("ours", norm(x, mask)), ("plain", plain(norm, x, mask))):
        found[name] = [y, *torch.autograd.grad((y * weight).sum(), [x, norm.weight, norm.bias])]
    torch.testing.assert_close(found["ours"], found["plain"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [[9, 4, 7], [6]], ids=["ragged", "one utterance"])
def test_gradcheck(lengths: list[int]) -> None:
    norm, x, mask = draw(lengths)

    def standardised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, mask))

    assert torch.autograd.gradcheck(standardised, (x, norm.weight, norm.bias))


def test_padding_has_no_effect() -> None:
    """Neither its amount nor its content matters."""
    results = []
    for size, value in ((9, 0.0), (9, 1e6), (30, -7.0)):
        norm, x, mask = draw([9, 4, 7])
        wide = torch.full((3, C, size), value, dtype=torch.float64)
        wide[:, :, :9] = torch.where(mask.bool(), x.detach(), value)
        more = valid_mask(torch.tensor([9, 4, 7]), size)[:, None].double()
        wide.requires_grad_()
        y = norm(wide, more)[:, :, :9] * mask
        gradients = torch.autograd.grad(y.square().sum() + y[:, 0].sum(), [wide, norm.weight, norm.bias])
        assert (gradients[0][~more.bool().expand_as(wide)] == 0).all()
        results.append([y, gradients[0][:, :, :9], *gradients[1:], norm.running_mean, norm.running_var])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(results[2], results[0], rtol=1e-9, atol=1e-9)


@lengths
def test_the_running_statistics_are_those_of_the_valid_values(lengths: list[int]) -> None:
    norm, x, mask = draw(lengths)
    norm(x, mask)
    valid = x.detach().transpose(0, 1)[mask.bool().transpose(0, 1).expand(C, -1, -1)].view(C, -1)
    unbiased = valid.var(1) if valid.shape[1] > 1 else torch.zeros(C, dtype=torch.float64)
    torch.testing.assert_close(norm.running_mean, MOMENTUM * valid.mean(1))
    torch.testing.assert_close(norm.running_var, 1 - MOMENTUM + MOMENTUM * unbiased)


def test_statistics_of_half_precision_are_in_single_precision() -> None:
    """There are six thousand values: bf16 can count to 256 only, and cannot add a small number to a large sum."""
    norm, x, mask = draw([2_000, 900, 3_000], size=3_000)
    half = x.detach().bfloat16()
    exact = half.double().requires_grad_()
    weight = torch.randn_like(exact) * mask
    expected = plain(norm, exact, mask)
    gradients = torch.autograd.grad((expected * weight).sum(), [exact, norm.weight, norm.bias])
    other = MaskedBatchNorm(C)
    other.load_state_dict(norm.state_dict())
    half.requires_grad_()
    y = other(half, mask.bfloat16())
    found = torch.autograd.grad((y.double() * weight).sum(), [half, other.weight, other.bias])
    assert y.dtype == found[0].dtype == torch.bfloat16
    assert other.running_mean.dtype == found[1].dtype == torch.float32  # type: ignore[union-attr]
    for ours, theirs in zip([(y * mask).detach(), *found], [(expected * mask).detach(), *gradients], strict=True):
        assert float((ours.double() - theirs).norm() / theirs.norm()) < 1e-2
    norm(exact, mask)
    torch.testing.assert_close(other.running_mean.double(), norm.running_mean, rtol=1e-5, atol=1e-6)  # type: ignore[union-attr]
    variances = [each.running_var.double() - (1 - MOMENTUM) for each in (other, norm)]  # type: ignore[union-attr]
    torch.testing.assert_close(*variances, rtol=1e-3, atol=0)


def test_in_evaluation_the_running_statistics_are_used_and_kept() -> None:
    norm, x, mask = draw([9, 4, 7])
    norm(x, mask)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.eval()
    y = norm(x, mask)
    mean, variance = before["running_mean"][:, None], before["running_var"][:, None]
    expected = (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None] + norm.bias[:, None]
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(dict(norm.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_a_block_leaves_zeros_on_padding(activation: Activation, training: bool) -> None:
    torch.manual_seed(0)
    block = ConvolutionBlock(4, C, 5, activation, dropout=0.2).train(training)
    torch.nn.init.ones_(block.norm.bias)
    mask = valid_mask(torch.tensor([9, 4, 7]))[:, None].float()
    y = block(torch.randn(3, 4, 9) * mask, mask)
    outside = ~mask.bool().expand_as(y)
    assert (y[outside] == 0).all()
    assert (y[~outside] != 0).any()


def test_under_autocast_a_block_stays_in_half_precision() -> None:
    block = ConvolutionBlock(4, C, 5, "tanh", dropout=0.2)
    mask = torch.ones(2, 1, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(torch.randn(2, 4, 9), mask).dtype == torch.bfloat16


@pytest.mark.parametrize("library", [True, False])
def test_an_lstm_in_bf16_runs_on_any_processor(monkeypatch: pytest.MonkeyPatch, library: bool) -> None:
    """Where oneDNN has none for the processor, autocast would end in its error."""
    if library and not library_has_bf16(torch.device("cpu")):
        pytest.skip("this processor's library has none")
    monkeypatch.setattr("model.layers.library_has_bf16", lambda device: library)
    torch.manual_seed(0)
    rnn, x = nn.LSTM(6, 10, batch_first=True), torch.randn(3, 7, 6)
    with torch.autocast("cpu", torch.bfloat16):
        half = run_lstm(rnn, x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), rnn(x)[0], atol=2e-2, rtol=0)
