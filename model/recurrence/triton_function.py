"""The attention recurrence as Triton kernels: two launches a step forwards, three backwards, fast on one large GPU.

The mathematics of `model.recurrence.deferred`. Forwards: the LSTM with its product, then the attention. Backwards: the
attention, the LSTM, the product that leads to the step before; what no step waits for (gradients of weights, memory, keys and
filters) comes after the loop, over all steps at once. Sums, cell state, softmax, energies and alignments are in single
precision (in double for double); `products` is the type in which matrices multiply.

Nothing here waits for the device or depends on data: a caller may capture forward and backward in a CUDA graph.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from model.recurrence import Inputs, Weights
from model.recurrence import triton_kernels as kernels

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}


@dataclass(frozen=True, slots=True)
class Tiles:
    """What each kernel of that name is launched with: tile sizes, warps, pipeline stages.

    `split` is the number of shares of the product that `recurrent_backward` takes.
    """

    lstm_forward: dict[str, int]
    attention_forward: dict[str, int]
    attention_backward: dict[str, int]
    lstm_backward: dict[str, int]
    recurrent_backward: dict[str, int]
    deferred_backward: dict[str, int]
    split: int


def tiles(batch: int, width: int, products: torch.dtype) -> Tiles:
    """Sizes for the 132 multiprocessors of an H200, `width` being E + A: to each one program of a product, or two of others."""
    if products.itemsize > 2:  # no tensor cores, or slow ones: for checks
        return Tiles(
            lstm_forward=sizes(4, 2, B=32, A=16, K=16),
            attention_forward=sizes(8, 1, N=32, M=16) | {"STAGES": 1},
            attention_backward=sizes(8, 1, N=32, M=16) | {"STAGES": 1},
            lstm_backward=sizes(8, 1, B=32, A=32),
            recurrent_backward=sizes(4, 2, B=32, X=64, K=16),
            deferred_backward=sizes(8, 1, N=32, D=32),
            split=4,
        )
    rows = 64 if batch > 64 else 32 if batch > 32 else 16
    x, warps = (128, 8) if batch > 64 else (64, 4)
    return Tiles(
        lstm_forward=sizes(4, 4, B=rows, A=32 if batch > 128 else 16, K=64),
        attention_forward=sizes(4, 2, N=64, M=16) | {"STAGES": 3},
        attention_backward=sizes(4, 2, N=32, M=16) | {"STAGES": 3},
        lstm_backward=sizes(8, 2, B=32, A=64),
        recurrent_backward=sizes(warps, 4, B=x, X=x, K=64),
        deferred_backward=sizes(4, 2, N=32, D=64),
        split=max(1, min(8, 132 // (triton.cdiv(batch, x) * triton.cdiv(width, x)))),
    )


def sizes(num_warps: int, num_stages: int, **blocks: int) -> dict[str, int]:
    """Launch arguments of one kernel: `B=32` is a tile of 32 utterances."""
    return {f"BLOCK_{name}": size for name, size in blocks.items()} | {"num_warps": num_warps, "num_stages": num_stages}


def attend(
    inputs: Inputs, weights: Weights, products: torch.dtype, blocks: Tiles | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`; hidden and context come in the type of `products`, the alignment in single precision."""
    hidden, context, alignment = _Recurrence.apply(  # type: ignore[no-untyped-call]
        *(inputs.gates, inputs.memory, inputs.keys, inputs.padding, inputs.dropout),
        *(weights.recurrent, weights.query, weights.location, weights.energy),
        *(products, blocks or tiles(inputs.memory.shape[0], weights.recurrent.shape[1], products)),
    )
    return hidden, context, alignment


class _Launcher:
    """Launches a kernel with what it asks for by name of dimensions, types and tile sizes."""

    def __init__(self, memory: Tensor, query: Tensor, location: Tensor, products: torch.dtype, blocks: Tiles) -> None:
        (D, A), E, K = query.shape, memory.shape[2], location.shape[2]
        self.blocks = blocks
        self.parts = triton.cdiv(A, blocks.lstm_forward["BLOCK_A"])
        half = products.itemsize == 2
        # Triton's interpreter would multiply the bits of bfloat16: there rounded operands multiply in single precision.
        single = half and triton.knobs.runtime.interpret
        self.constants = {
            **{"A": A, "E": E, "D": D, "K": K, "SPLIT": blocks.split, "PARTS": self.parts},
            **{"BLOCK_E": _power(E), "BLOCK_D": _power(D), "BLOCK_W": _power(2 * K), "BLOCK_P": _power(self.parts)},
            **{"ACC": TYPES[_sums(products)], "FEATURES": TYPES[torch.float16 if half else products]},
            **{"PRODUCTS": TYPES[products], "MULTIPLY": TYPES[torch.float32 if single else products]},
        }

    def __call__(self, kernel: Any, grid: dict[str, int], *arguments: Tensor | int | None) -> None:
        """`grid`: how much there is of each dimension that programs divide among them, by tile (B, A) or whole."""
        own: dict[str, int] = getattr(self.blocks, kernel.__name__)
        constants = {name: value for name, value in self.constants.items() if name in kernel.arg_names}
        shape = tuple(triton.cdiv(size, own.get(f"BLOCK_{name}", 1)) for name, size in grid.items())
        kernel[shape](*arguments, **(constants | own))


def _power(size: int) -> int:
    """The next power of two, as tiles are, that a matrix product takes."""
    return max(16, triton.next_power_of_2(size))  # type: ignore[no-any-return]


def _sums(products: torch.dtype) -> torch.dtype:
    return torch.float64 if products == torch.float64 else torch.float32


def _total(left: Tensor, right: Tensor) -> Tensor:
    """left' right over all steps and utterances: (rows, M), (rows, N) -> (M, N), added in single precision."""
    if left.is_cuda and left.itemsize == 2:
        return torch.mm(left.t(), right, out_dtype=torch.float32)
    return left.t() @ right


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,  # (T, B, 4A)
        memory: Tensor,  # (B, N, E)
        keys: Tensor,  # (B, N, D)
        padding: Tensor,  # (B, N)
        dropout: Tensor | None,  # (T, B, A)
        recurrent: Tensor,  # (4A, E + A)
        query: Tensor,  # (D, A)
        location: Tensor,  # (D, 2, K)
        energy: Tensor,  # (D,)
        products: torch.dtype,
        blocks: Tiles,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.kinds = [x.dtype for x in (gates, memory, keys, recurrent, query, location, energy)]
        ctx.products, ctx.blocks = products, blocks
        gates, keys, padding, location, energy = (x.contiguous() for x in (gates, keys, padding, location, energy))
        memory, recurrent, query = (x.to(products).contiguous() for x in (memory, recurrent, query))
        dropout = None if dropout is None else dropout.contiguous()
        launch = _Launcher(memory, query, location, products, blocks)
        T, (B, N, E), (D, A), sums = gates.shape[0], memory.shape, query.shape, _sums(products)
        units = recurrent.view(4, A, E + A).transpose(0, 1).contiguous()  # the four gates of a unit side by side
        limits = ((~padding) * torch.arange(1, N + 1, device=padding.device)).amax(1).int()  # last symbol of each, plus one
        fed = gates.new_zeros(T + 1, B, E + A, dtype=products)  # [context; hidden] after step t stands at t + 1
        # Gates before their sigmoid or tanh: rounded there, a gate near one keeps its distance from one.
        before = gates.new_empty(T, B, 4 * A, dtype=torch.float16 if products.itemsize == 2 else products)
        cells = gates.new_zeros(T + 1, B, A, dtype=sums)
        history = gates.new_zeros(T + 1, B, 2, N, dtype=sums)  # alignment, and the sum of all until then
        queries = gates.new_empty(T, B, D, dtype=sums)
        parts = gates.new_empty(launch.parts, B, D, dtype=sums)  # of the query, by tiles of hidden units
        scores = gates.new_empty(B, N, dtype=sums)
        for t in range(T):
            launch(
                *(kernels.lstm_forward, {"A": A, "B": B}),
                *(gates, dropout, units, query, fed, before, cells, parts, t, B),
            )
            launch(
                *(kernels.attention_forward, {"utterances": B}),
                *(parts, memory, keys, padding, limits, location, energy, fed, history, queries, scores, t, B, N),
            )
        ctx.save_for_backward(
            *(memory, keys, dropout, recurrent, query, location, energy),
            *(limits, fed, before, cells, history, queries),
        )
        return fed[1:, :, E:].contiguous(), fed[1:, :, :E].contiguous(), history[1:, :, 0].contiguous()

    @staticmethod
    def backward(ctx: Any, d_hidden: Tensor, d_context: Tensor, d_alignment: Tensor) -> tuple[Tensor | None, ...]:
        memory, keys, dropout, recurrent, query, location, energy = ctx.saved_tensors[:7]
        limits, fed, before, cells, history, queries = ctx.saved_tensors[7:]
        products, blocks = ctx.products, ctx.blocks
        launch = _Launcher(memory, query, location, products, blocks)
        T, (B, N, E), (D, A), K = queries.shape[0], memory.shape, query.shape, location.shape[2]
        d_hidden, d_context, d_alignment = (x.contiguous() for x in (d_hidden, d_context, d_alignment))
        d_gates = before.new_empty(T, B, 4 * A, dtype=products)
        d_contexts, d_queries = fed.new_empty(T, B, E), fed.new_empty(T, B, D)
        d_scores = history.new_zeros(T, B, N)
        d_fed = cells.new_zeros(blocks.split, B, E + A)  # to be added up
        d_cells, d_sums = cells.new_zeros(2, B, A), history.new_zeros(2, B, N)  # step t writes t % 2 and reads the other
        d_windows, d_weights = history.new_zeros(B, launch.constants["BLOCK_W"], N), history.new_empty(B, N)
        for t in range(T - 1, -1, -1):
            launch(
                *(kernels.attention_backward, {"utterances": B}),
                *(d_context, d_alignment, d_fed, memory, keys, limits, location, energy, queries, history),
                *(d_weights, d_windows, d_sums, d_contexts, d_scores, d_queries, t, B, N),
            )
            launch(
                *(kernels.lstm_backward, {"A": A, "B": B}),
                *(d_hidden, d_fed, d_queries, query, dropout, before, cells, d_cells, d_gates, t, B),
            )
            launch(
                *(kernels.recurrent_backward, {"X": E + A, "B": B, "shares": blocks.split}),
                *(d_gates, recurrent, d_fed, t, B),
            )
        tiles_n = triton.cdiv(N, blocks.deferred_backward["BLOCK_N"])
        d_keys = history.new_empty(B, N, D)
        d_location, d_energy = history.new_empty(B * tiles_n, D, 2, K), history.new_empty(B * tiles_n, D)
        launch(
            *(kernels.deferred_backward, {"N": N, "D": D, "utterances": B}),
            *(d_scores, queries, history, keys, limits, location, energy, d_keys, d_location, d_energy, T, B, N),
        )
        alignments = history[1:, :, 0].permute(1, 2, 0).to(products)
        d_memory = torch.bmm(alignments, d_contexts.transpose(0, 1))
        d_recurrent = _total(d_gates.view(T * B, 4 * A), fed[:-1].view(T * B, E + A))
        d_query = _total(d_queries.view(T * B, D), fed[1:].view(T * B, E + A)[:, E:])
        gradients = d_gates, d_memory, d_keys, d_recurrent, d_query, d_location.sum(0), d_energy.sum(0)
        d_gates, d_memory, d_keys, *rest = (gradient.to(kind) for gradient, kind in zip(gradients, ctx.kinds, strict=True))
        return d_gates, d_memory, d_keys, None, None, *rest, None, None
