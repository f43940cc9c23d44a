"""Multiply matrices on a CPU by oneDNN, which PyTorch links but uses for half precision only.

PyTorch multiplies single precision by MKL, which packs the weights in every call and, on AMD, leaves half of the arithmetic
units idle. For 16 rows and 1536 x 4096 weights on two Zen 5 cores: MKL 2.1 ms, oneDNN 0.80 ms, with weights packed beforehand
0.44 ms. Where oneDNN cannot help (a GPU, double precision, a build without it, a processor on which MKL
is faster) these are PyTorch's own products.

R rows, I inputs, O outputs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.cpu.processor import HALF, ONEDNN, processor

_plain = False  # inside `plain`


@contextmanager
def plain() -> Iterator[None]:
    """Multiply by PyTorch's own products within the block: a graph for other programs cannot hold those of oneDNN."""
    global _plain
    _plain = True
    try:
        yield
    finally:
        _plain = False


def packed(weight: Tensor, rows: int) -> Tensor:
    """Return weight (O, I) in the layout that is fast for products with `rows` rows. Only `product` can read it."""
    if not _fast(weight):
        return weight
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return reordered


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x weight^T (R, O) for x (R, I) and weight (O, I), packed or not. Has no gradient: see `linear`."""
    if not _fast(x):
        return x @ weight.t()
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return y


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right (O, I) for left (R, O) and right (R, I): the gradient of a weight."""
    if not _fast(left) or not len(left):
        return left.t() @ right
    return product(right.t().contiguous(), left.t()).t()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what `F.linear` does, by oneDNN in single precision on a CPU: x (..., I), weight (O, I), bias (O,) -> (..., O)."""
    if not _fast(x) or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    y: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight)  # type: ignore[no-untyped-call]
    y = y.view(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


class Linear(nn.Linear):
    """`nn.Linear` that multiplies by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (d_y,) = ctx.saved_tensors, gradients
        d_x = product(d_y.contiguous(), weight.t().contiguous()) if ctx.needs_input_grad[0] else None
        return d_x, outer(d_y, x)


def _fast(x: Tensor) -> bool:
    if _plain or not ONEDNN or x.device.type != "cpu":
        return False
    return processor().single_by_onednn if x.dtype == torch.float32 else x.dtype == torch.bfloat16 and HALF
