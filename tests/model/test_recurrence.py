"""The deferred recurrence is the reference, forwards and backwards, in float64."""
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from model.recurrence import Inputs, Weights, attend, deferred
from model.recurrence.deferred import _Recurrence

SHAPES = {  # T, B, N
    "usual": (5, 3, 7),
    "one utterance": (4, 1, 6),
    "one symbol": (4, 2, 1),
    "one step": (1, 2, 5),
    "fewer symbols than the kernel": (3, 2, 2),
}
A, E, D, K = 3, 5, 4, 5


def draw(T: int, B: int, N: int, dropout: bool) -> tuple[Inputs, Weights]:
    torch.manual_seed(T * 100 + B * 10 + N)

    def leaf(*shape: int) -> Tensor:
        return (0.5 * torch.randn(*shape, dtype=torch.float64)).requires_grad_()

    padding = torch.zeros(B, N, dtype=torch.bool)
    padding[-1, (N + 1) // 2 :] = N > 1
    mask = (torch.rand(T, B, A, dtype=torch.float64) > 0.3) / 0.7 if dropout else None
    inputs = Inputs(leaf(T, B, 4 * A), leaf(B, N, E), leaf(B, N, D), padding, mask)
    return inputs, Weights(leaf(4 * A, E + A), leaf(D, A), leaf(D, 2, K), leaf(D))


def leaves(inputs: Inputs, weights: Weights) -> list[Tensor]:
    every = [getattr(value, field.name) for value in (inputs, weights) for field in fields(value)]
    return [tensor for tensor in every if tensor is not None and tensor.requires_grad]


@pytest.mark.parametrize("kept", [0, 2**20], ids=["energies again", "energies kept"])
@pytest.mark.parametrize("dropout", [False, True], ids=["no dropout", "shared masks"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_deferred_equals_reference(
    shape: tuple[int, int, int], dropout: bool, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "KEPT_BYTES", kept)
    inputs, weights = draw(*shape, dropout)
    results = {}
    for how in ("reference", "deferred"):
        outputs = attend(inputs, weights, how)
        torch.manual_seed(1)
        loss = sum((output * torch.randn_like(output)).sum() for output in outputs)
        results[how] = (outputs, torch.autograd.grad(loss, leaves(inputs, weights)))
    torch.testing.assert_close(results["deferred"], results["reference"], rtol=1e-10, atol=1e-12)


def test_gradcheck() -> None:
    inputs, weights = draw(3, 2, 4, dropout=True)
    arguments = (
        *(inputs.gates, inputs.memory, inputs.keys, inputs.padding, inputs.dropout),
        *(weights.recurrent, weights.query, weights.location, weights.energy),
    )
    assert torch.autograd.gradcheck(_Recurrence.apply, arguments)


@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_attention_rows_sum_to_one_and_padding_gets_none(how: str) -> None:
    inputs, weights = draw(5, 3, 7, dropout=False)
    _, _, alignment = attend(inputs, weights, how)
    torch.testing.assert_close(alignment.sum(2), torch.ones(5, 3, dtype=torch.float64))
    assert alignment.transpose(0, 1)[inputs.padding[:, None].expand(3, 5, 7)].abs().max() == 0
