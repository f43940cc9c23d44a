"""The deferred recurrence equals the reference, forward and backward, in float64; `auto` chooses an implementation."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from model import recurrence
from model.recurrence import Inputs, Weights, attend, deferred, implementation
from model.recurrence.deferred import _Recurrence
from tests.model import recurrences
from tests.model.recurrences import SHAPES

DIMENSIONS = 3, 5, 4, 5  # A, E, D, K


def draw(T: int, B: int, N: int, dropout: bool) -> tuple[Inputs, Weights]:
    return recurrences.draw(T, B, N, dropout, DIMENSIONS, device=torch.device("cpu"))


def leaves(inputs: Inputs, weights: Weights) -> list[Tensor]:
    return list(recurrences.leaves(inputs, weights).values())


@pytest.mark.parametrize("kept", [0, 2**20], ids=["energies computed again", "energies stored"])
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


@pytest.mark.parametrize("kept", [0, 2**20], ids=["energies computed again", "energies stored"])
def test_gradcheck(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "KEPT_BYTES", kept)
    inputs, weights = draw(3, 2, 4, dropout=True)
    arguments = [getattr(inputs, name) for name in ("gates", "memory", "keys", "padding", "dropout")]
    arguments += [getattr(weights, name) for name in ("recurrent", "query", "location", "energy")]
    assert torch.autograd.gradcheck(_Recurrence.apply, tuple(arguments))


@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_attention_rows_sum_to_one_and_padding_gets_none(how: str) -> None:
    inputs, weights = draw(5, 3, 7, dropout=False)
    _, _, alignment = attend(inputs, weights, how)
    torch.testing.assert_close(alignment.sum(2), torch.ones(5, 3, dtype=torch.float64))
    assert alignment.transpose(0, 1)[inputs.padding[:, None].expand(3, 5, 7)].abs().max() == 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda hidden, context, alignment: hidden.sum(),
        lambda hidden, context, alignment: context[:, 1].mean() + alignment[-1].square().sum(),
        lambda hidden, context, alignment: (alignment.transpose(0, 1).square() * torch.arange(7)).sum(),
    ],
    ids=["hidden states alone", "one utterance and the last alignment", "alignments, transposed"],
)
def test_gradients_of_any_layout_are_accepted_and_twice(loss: Callable[..., Tensor]) -> None:
    inputs, weights = draw(4, 3, 7, dropout=True)
    outputs = attend(inputs, weights, "deferred")
    found = [torch.autograd.grad(loss(*outputs), leaves(inputs, weights), retain_graph=True, allow_unused=True) for _ in "12"]
    expected = torch.autograd.grad(loss(*attend(inputs, weights, "reference")), leaves(inputs, weights), allow_unused=True)
    expected = tuple(torch.zeros_like(one) if other is None else other for one, other in zip(found[0], expected, strict=True))
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["fp32", "bf16"])
def test_other_types_of_gates_are_close(dtype: torch.dtype, bound: float) -> None:
    """The bounds are relative errors, in norm, of forty steps. Alignments and weight gradients are in single precision."""
    inputs, weights = draw(40, 3, 9, dropout=True)
    assert inputs.dropout is not None
    rounded = {name: getattr(inputs, name).detach().to(dtype).requires_grad_() for name in ("gates", "memory", "keys")}
    near = replace(inputs, **rounded, dropout=inputs.dropout.to(dtype))
    single = Weights(*(getattr(weights, field.name).detach().float().requires_grad_() for field in fields(weights)))
    exact_inputs = {name: value.detach().double().requires_grad_() for name, value in rounded.items()}
    exact = replace(inputs, **exact_inputs, dropout=near.dropout.double())  # type: ignore[union-attr]
    double = Weights(*(getattr(single, field.name).detach().double().requires_grad_() for field in fields(weights)))
    found = {}
    for name, how, given in (("ours", "deferred", (near, single)), ("exact", "reference", (exact, double))):
        outputs = attend(*given, how)
        loss = sum((output.double() * torch.sin(torch.arange(output.numel())).view_as(output)).sum() for output in outputs)
        found[name] = [value.detach() for value in (*outputs, *torch.autograd.grad(loss, leaves(*given)))]
    for ours, theirs in zip(found["ours"], found["exact"], strict=True):
        assert float((ours.double() - theirs).norm() / theirs.norm()) < bound
    kinds = [value.dtype for value in found["ours"]]
    assert kinds[0] == kinds[3] == dtype, "hidden states, and the gradient of the gates"
    assert {kinds[2], *kinds[6:]} == {torch.float32}


@pytest.mark.parametrize(
    ("device", "triton", "expected"), [("cpu", True, "deferred"), ("cuda", True, "cuda"), ("cuda", False, "deferred")]
)
def test_auto_is_the_fastest_that_runs(device: str, triton: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "find_spec", lambda name: object() if triton else None)
    assert implementation("auto", torch.device(device)) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_what_runs_anywhere_is_taken_as_requested(how: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "find_spec", lambda name: None)
    assert implementation(how, torch.device(device)) == how


@pytest.mark.parametrize(
    ("device", "triton", "why"), [("cpu", True, "the device is the CPU"), ("cuda", False, "Triton is not installed")]
)
def test_kernels_need_a_gpu_and_triton(device: str, triton: bool, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "find_spec", lambda name: object() if triton else None)
    with pytest.raises(ValueError, match=f"needs a GPU and Triton, {why}: choose auto or deferred"):
        implementation("cuda", torch.device(device))
    monkeypatch.setattr(recurrence, "find_spec", lambda name: object())
    assert implementation("cuda", torch.device("cuda")) == "cuda"
