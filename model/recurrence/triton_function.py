"""The attention recurrence as Triton kernels: two launches a step forward, three backward, fast on one large GPU.

The mathematics of `model.recurrence.deferred`. Forward: the LSTM with its product, then the attention. Backward: the attention,
the LSTM, and the product that leads to the step before. What no step waits for (the gradients of weights, memory, keys and
filters) follows the loop, over all steps at once. Sums, cell states, softmax, energies and alignments are in single precision
(in double for double); `products` is the type in which matrices are multiplied.

Nothing here waits for the device or depends on data: a caller may capture forward and backward in a CUDA graph.
"""

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from model.recurrence import Inputs, Weights
from model.recurrence.triton_backward import attention_backward, deferred_backward, lstm_backward, recurrent_backward
from model.recurrence.triton_forward import attention_forward, lstm_forward
from model.recurrence.triton_launch import Launcher, sum_type
from model.recurrence.triton_tiles import Dimensions, Tiles, card_of, tiles


def attend(
    inputs: Inputs, weights: Weights, products: torch.dtype, blocks: Tiles | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`. Hidden states and contexts are of type `products`, alignments in single precision.

    Raises ValueError where the kernels do not fit the GPU.
    """
    memory = inputs.memory
    blocks = blocks or tiles(memory.shape[0], Dimensions.of(weights), products, card_of(memory.device))
    hidden, context, alignment = _Recurrence.apply(  # type: ignore[no-untyped-call]
        inputs.gates,
        inputs.memory,
        inputs.keys,
        inputs.padding,
        inputs.dropout,
        weights.recurrent,
        weights.query,
        weights.location,
        weights.energy,
        products,
        blocks,
    )
    return hidden, context, alignment


def _total(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right over all steps and utterances: (rows, M), (rows, N) -> (M, N), added up in single precision."""
    if left.is_cuda and left.itemsize == 2 and torch.version.hip is None:  # hipBLAS need not have this output type
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
        launch = Launcher(memory, query, location, products, blocks)
        T, (B, N, E), (D, A), sums = gates.shape[0], memory.shape, query.shape, sum_type(products)
        limits = ((~padding) * torch.arange(1, N + 1, device=padding.device)).amax(1).int()  # last symbol of each, plus one
        fed = gates.new_zeros(T + 1, B, E + A, dtype=products)  # [context; hidden] after step t is at t + 1
        # Gates before their sigmoid or tanh: rounded there, a gate near one keeps its distance from one.
        before = gates.new_empty(T, B, 4 * A, dtype=torch.float16 if products.itemsize == 2 else products)
        cells = gates.new_zeros(T + 1, B, A, dtype=sums)
        history = gates.new_zeros(T + 1, B, 2, N, dtype=sums)  # the alignment, and the sum of all so far
        queries = gates.new_empty(T, B, D, dtype=sums)
        units = recurrent.view(4, A, E + A).transpose(0, 1).contiguous()  # the four gates of a unit side by side
        parts = gates.new_empty(launch.parts, B, D, dtype=sums)  # of the query, by tiles of hidden units
        scores = gates.new_empty(B, N, dtype=sums)
        launch.pass_tensors(gates=gates, dropout=dropout, units=units, query=query, parts=parts, scores=scores, padding=padding)
        launch.pass_tensors(memory=memory, keys=keys, limits=limits, location=location, energy=energy)
        launch.pass_tensors(fed=fed, before=before, cells=cells, history=history, queries=queries)
        for t in range(T):
            launch(lstm_forward, {"A": A, "B": B}, t=t)
            launch(attention_forward, {"utterances": B}, t=t)
        inputs = memory, keys, dropout, recurrent, query, location, energy
        ctx.save_for_backward(*inputs, limits, fed, before, cells, history, queries)
        return fed[1:, :, E:].contiguous(), fed[1:, :, :E].contiguous(), history[1:, :, 0].contiguous()

    @staticmethod
    def backward(ctx: Any, d_hidden: Tensor, d_context: Tensor, d_alignment: Tensor) -> tuple[Tensor | None, ...]:
        memory, keys, dropout, recurrent, query, location, energy = ctx.saved_tensors[:7]
        limits, fed, before, cells, history, queries = ctx.saved_tensors[7:]
        products, blocks = ctx.products, ctx.blocks
        launch = Launcher(memory, query, location, products, blocks)
        T, (B, N, E), (D, A), K = queries.shape[0], memory.shape, query.shape, location.shape[2]
        d_hidden, d_context, d_alignment = (x.contiguous() for x in (d_hidden, d_context, d_alignment))
        d_gates = before.new_empty(T, B, 4 * A, dtype=products)
        d_contexts, d_queries = fed.new_empty(T, B, E), fed.new_empty(T, B, D)
        d_scores = history.new_zeros(T, B, N)
        d_fed = cells.new_zeros(blocks.split, B, E + A)  # shares, to be added up
        d_cells, d_sums = cells.new_zeros(2, B, A), history.new_zeros(2, B, N)  # step t writes t % 2 and reads the other
        d_windows, d_weights = history.new_zeros(B, launch.window, N), history.new_empty(B, N)
        launch.pass_tensors(memory=memory, keys=keys, limits=limits, location=location, energy=energy)
        launch.pass_tensors(fed=fed, before=before, cells=cells, history=history, queries=queries)
        launch.pass_tensors(dropout=dropout, recurrent=recurrent, query=query)
        launch.pass_tensors(d_hidden=d_hidden, d_context=d_context, d_alignment=d_alignment, d_gates=d_gates, d_fed=d_fed)
        launch.pass_tensors(d_contexts=d_contexts, d_queries=d_queries, d_scores=d_scores, d_cells=d_cells, d_sums=d_sums)
        launch.pass_tensors(d_windows=d_windows, d_weights=d_weights)
        for t in range(T - 1, -1, -1):
            launch(attention_backward, {"utterances": B}, t=t)
            launch(lstm_backward, {"A": A, "B": B}, t=t)
            launch(recurrent_backward, {"X": E + A, "B": B, "shares": blocks.split}, t=t)
        tiles_n = triton.cdiv(N, blocks.deferred_backward["BLOCK_N"])
        d_keys = history.new_empty(B, N, D)
        d_location, d_energy = history.new_empty(B * tiles_n, D, 2, K), history.new_empty(B * tiles_n, D)
        launch.pass_tensors(d_keys=d_keys, d_location=d_location, d_energy=d_energy)
        launch(deferred_backward, {"N": N, "D": D, "utterances": B}, T=T)
        alignments = history[1:, :, 0].permute(1, 2, 0).to(products)
        d_memory = torch.bmm(alignments, d_contexts.transpose(0, 1))
        d_recurrent = _total(d_gates.view(T * B, 4 * A), fed[:-1].view(T * B, E + A))
        d_query = _total(d_queries.view(T * B, D), fed[1:].view(T * B, E + A)[:, E:])
        gradients = d_gates, d_memory, d_keys, d_recurrent, d_query, d_location.sum(0), d_energy.sum(0)
        d_gates, d_memory, d_keys, *rest = (gradient.to(kind) for gradient, kind in zip(gradients, ctx.kinds, strict=True))
        return d_gates, d_memory, d_keys, None, None, *rest, None, None
