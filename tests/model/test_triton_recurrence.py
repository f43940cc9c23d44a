"""The Triton recurrence equals the reference, forward and backward: on a GPU if there is one, else in Triton's interpreter.

The interpreter is slow: one small case of each law runs by default, all others are marked slow.
"""

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.recurrence import Inputs, Weights
from model.recurrence.reference import attend as reference
from tests.model import recurrences
from tests.model.recurrences import DEVICE, Loss, leaves, run

if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")
from model.recurrence.triton_function import attend
from model.recurrence.triton_tiles import Tiles, sizes

SHAPES = recurrences.SHAPES | {"several tiles of everything": (3, 17, 19)}
A, E, D, K = 21, 12, 18, 5  # no multiples of a tile
SMALL = Tiles(
    lstm_forward=sizes(4, 2, B=16, A=16, K=16, D=16),
    attention_forward=sizes(4, 2, N=16, M=8, D=16) | {"STAGES": 2},
    attention_backward=sizes(4, 2, N=16, M=8, D=16) | {"STAGES": 2},
    lstm_backward=sizes(4, 2, B=16, A=16, D=16),
    recurrent_backward=sizes(4, 2, B=16, X=16, K=16),
    deferred_backward=sizes(4, 2, N=16, D=16),
    split=2,
)
FULL = 1024, 512, 128, 31
WIDE = 1024, 512, 512, 31


def draw(
    T: int,
    B: int,
    N: int,
    dropout: bool,
    dimensions: tuple[int, int, int, int] = (A, E, D, K),
    dtype: torch.dtype = torch.float64,
) -> tuple[Inputs, Weights]:
    return recurrences.draw(T, B, N, dropout, dimensions, dtype)


def cast(values: Inputs | Weights, dtype: torch.dtype, *names: str) -> Inputs | Weights:
    """Convert the leaves `names`, by default all, to another type."""
    chosen = {name: getattr(values, name) for name in names or [field.name for field in fields(values)]}
    floating = {name: tensor for name, tensor in chosen.items() if tensor is not None and tensor.is_floating_point()}
    return replace(values, **{n: t.detach().to(dtype).requires_grad_(t.requires_grad) for n, t in floating.items()})


def errors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    """Return the relative error of each tensor, in norm."""
    return {name: float(((ours[name].double() - exact).norm() / exact.norm()).detach()) for name, exact in theirs.items()}


def cases() -> Iterator[Any]:
    """Yield each shape with and without dropout; all but one are slow."""
    for name, shape in SHAPES.items():
        for dropout in (False, True):
            marks = () if (name, dropout) == ("usual", True) else pytest.mark.slow
            yield pytest.param(shape, dropout, id=f"{name}, {'shared masks' if dropout else 'no dropout'}", marks=marks)


@pytest.mark.parametrize(("shape", "dropout"), list(cases()))
def test_equals_reference(shape: tuple[int, int, int], dropout: bool) -> None:
    inputs, weights = draw(*shape, dropout)
    ours = run(attend(inputs, weights, torch.float64, SMALL), leaves(inputs, weights))
    theirs = run(reference(inputs, weights), leaves(inputs, weights))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("products", "bound"),
    [
        pytest.param(torch.float32, 1e-5, id="fp32", marks=pytest.mark.slow),
        pytest.param(torch.bfloat16, 2e-2, id="bf16"),
        pytest.param(torch.float16, 4e-3, id="fp16", marks=pytest.mark.slow),
    ],
)
def test_default_tiles_with_single_and_half_precision_are_close(products: torch.dtype, bound: float) -> None:
    inputs, weights = draw(6, 3, 9, dropout=True, dtype=torch.float32)
    inputs = cast(inputs, products, "gates", "memory", "keys")
    ours = run(attend(inputs, weights, products), leaves(inputs, weights))
    exact = cast(inputs, torch.float64), cast(weights, torch.float64)
    theirs = run(reference(*exact), leaves(*exact))
    assert max(errors(ours, theirs).values()) < bound
    assert ours["hidden"].dtype == ours["context"].dtype == ours["gates"].dtype == ours["memory"].dtype == products
    assert ours["alignment"].dtype == ours["recurrent"].dtype == ours["energy"].dtype == torch.float32


def test_padding_gets_no_attention_and_the_rest_sums_to_one() -> None:
    inputs, weights = draw(5, 3, 23, dropout=False)
    inputs.padding[1, 5:] = True  # a tile and more of nothing but padding
    inputs.padding[0, 3] = True
    _, _, alignment = attend(inputs, weights, torch.float64, SMALL)
    torch.testing.assert_close(alignment.sum(2), torch.ones_like(alignment[:, :, 0]))
    assert alignment.transpose(0, 1)[inputs.padding[:, None].expand(3, 5, 23)].abs().max() == 0
    assert alignment.transpose(0, 1)[~inputs.padding[:, None].expand(3, 5, 23)].min() > 0


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(
            lambda hidden, context, alignment: (alignment.transpose(0, 1).square() * torch.arange(7, device=DEVICE)).sum(),
            id="alignments, transposed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda hidden, context, alignment: hidden.mean() + context[:, 1].sum(),
            id="means, and no alignments",
        ),
        pytest.param(
            lambda hidden, context, alignment: torch.cat([hidden, context], 2).square().sum() + alignment[-1].square().sum(),
            id="concatenated, and the last alignment",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_gradients_of_any_layout_are_accepted(loss: Loss) -> None:
    inputs, weights = draw(2, 3, 7, dropout=True)
    ours = run(attend(inputs, weights, torch.float64, SMALL), leaves(inputs, weights), loss)
    theirs = run(reference(inputs, weights), leaves(inputs, weights), loss)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_inputs_may_be_views() -> None:
    inputs, weights = draw(2, 3, 7, dropout=True)
    views = replace(
        inputs,
        gates=inputs.gates.transpose(0, 1).contiguous().transpose(0, 1),
        memory=inputs.memory.transpose(1, 2).contiguous().transpose(1, 2),
        padding=inputs.padding.t().contiguous().t(),
    )
    ours = run(attend(views, weights, torch.float64, SMALL), leaves(inputs, weights))
    theirs = run(reference(inputs, weights), leaves(inputs, weights))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


on_gpu = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA device")


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize(("dimensions", "batch"), [(FULL, 16), (FULL, 48), (FULL, 100), (FULL, 256), (WIDE, 48)])
@pytest.mark.parametrize(("products", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)], ids=["fp32", "bf16"])
def test_full_size_is_close_and_repeatable(
    products: torch.dtype, bound: float, dimensions: tuple[int, int, int, int], batch: int
) -> None:
    inputs, weights = draw(40, batch, 110, dropout=True, dimensions=dimensions, dtype=torch.float32)
    inputs = cast(inputs, products, "gates", "memory", "keys")
    ours = run(attend(inputs, weights, products), leaves(inputs, weights))
    again = run(attend(inputs, weights, products), leaves(inputs, weights))
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    exact = cast(inputs, torch.float64), cast(weights, torch.float64)
    theirs = run(reference(*exact), leaves(*exact))
    assert max(errors(ours, theirs).values()) < bound


@pytest.mark.gpu
@on_gpu
def test_it_may_be_captured_in_a_cuda_graph() -> None:
    inputs, weights = draw(20, 256, 110, dropout=True, dimensions=FULL, dtype=torch.float32)
    wanted = leaves(inputs, weights)

    def loss(*outputs: Tensor) -> Tensor:
        return sum(output.float().square().sum() for output in outputs)

    def step() -> dict[str, Tensor]:
        return run(attend(inputs, weights, torch.bfloat16), wanted, loss)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        for leaf in wanted.values():
            leaf.mul_(1.1)
    graph.replay()
    eager = step()
    assert all(torch.equal(captured[name], eager[name]) for name in eager)
