# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Shared by the Triton kernels of the recurrence: their decorator, and device functions that are inlined into them.

Letters as in `model.recurrence`. Every tensor is contiguous, its shape is given in `model.recurrence.triton_function`; `t` is
the decoder step. A program owns all that it writes and adds in a fixed order, so that results do not change from run to run.
State that is carried from step to step lives in two buffers that are used alternately, since a value that several threads read
is written by one of them.

ACC is the type of sums and pointwise functions, PRODUCTS that of the operands of matrix products. These are multiplied as type
MULTIPLY: the same, except in Triton's interpreter. The location features are multiplied as FEATURES: a cumulative alignment
needs eleven bits of mantissa. BLOCK_X is the size of a tile along dimension X.
"""

from functools import partial

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

# One compilation serves every batch, length and step: only the dimensions of the model are constants.
kernel = partial(triton.jit, do_not_specialize=["t", "T", "B", "N"])


@triton.jit
def tanh(x):
    """tanh through the sigmoid, which Triton has."""
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def filters(location, d, D: tl.constexpr, K: tl.constexpr, BLOCK_W: tl.constexpr):
    """Load rows d of the location filters (D, 2K), transposed: a tile of (BLOCK_W, rows)."""
    w = tl.arange(0, BLOCK_W)[:, None]
    return tl.load(location + d[None, :] * (2 * K) + w, mask=(w < 2 * K) & (d < D)[None, :], other=0.0)


@triton.jit
def windows(history, n, N, K: tl.constexpr, BLOCK_W: tl.constexpr):
    """Load the K neighbours of symbols n in both rows of `history` (2, N): a tile of (symbols, BLOCK_W)."""
    w = tl.arange(0, BLOCK_W)[None, :]
    at = n[:, None] + w % K - K // 2
    return tl.load(history + w // K * N + at, mask=(w < 2 * K) & (at >= 0) & (at < N), other=0.0)
