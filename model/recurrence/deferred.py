"""The attention recurrence as one autograd Function for the complete sequence: fast on any device.

Autograd over the plain loop computes the gradient of each weight in each step and adds them up. Here the gradients of the gates
and of the query are stored, and the gradient of each weight is one product after the loop. The energies' tanh, by far the
largest activation, is computed again in the backward pass unless it is small. One product a step serves context and hidden
state together.

tanh(x) is 2 sigmoid(2x) - 1, and PyTorch's sigmoid is ten times as fast on a CPU as its tanh. So the energies are computed as
(2v) . sigmoid(2x), from doubled weights: the softmax does not depend on the constant that this leaves out.

Letters as in `model.recurrence`. Symbols are the last dimension, so that products with the location filter need no transpose.
"""

from typing import Any

import torch
from torch import Tensor

from model.cpu.matmul import outer, packed, product
from model.recurrence import Inputs, Weights
from model.recurrence.decoder_lstm import Cells

KEPT_BYTES = 512 * 2**20  # of the energies' activations that are stored instead of computed again
_sigmoid_backward = torch.ops.aten.sigmoid_backward.default


def attend(inputs: Inputs, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`."""
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
    )
    return hidden, context, alignment


class _Attention:
    """The alignments of all steps, and the computation of a step's energies."""

    def __init__(self, keys: Tensor, padding: Tensor, location: Tensor, energy: Tensor, T: int) -> None:
        B, N, D = keys.shape
        K = location.shape[2]
        self.shape = D, B, N
        self.kept: list[Tensor] | None = [] if T * keys.numel() * keys.itemsize <= KEPT_BYTES else None
        # Row t: alignment and cumulative alignment after t steps, with K // 2 symbols of zero padding on either side.
        padded = keys.new_zeros(T + 1, B, 2, N + K - 1)
        self.windows = padded.unfold(3, K, 1).permute(0, 2, 4, 1, 3).unbind(0)  # (2, K, B, N) each, no copies
        inside = padded[:, :, :, K // 2 : K // 2 + N]
        self.alignments = inside[:, :, 0]
        self.alignment, self.cumulative = self.alignments.unbind(0), inside[:, :, 1].unbind(0)
        self.keys = (2 * keys).permute(2, 0, 1).reshape(D, B * N)
        self.location = (2 * location).flatten(1)  # (D, 2K)
        self.energy = 2 * energy
        self.padding = keys.new_zeros(B, N).masked_fill_(padding, -torch.inf)

    def rows(self, t: int) -> Tensor:
        """Return the K neighbours of each symbol in both alignments after t steps (2K, B N)."""
        _, B, N = self.shape
        return self.windows[t].reshape(-1, B * N)

    def squashed(self, rows: Tensor, query: Tensor) -> Tensor:
        """Return sigmoid(2x) (D, B N), where x is the argument of the energies' tanh, for the doubled query (D, B)."""
        inner = product(self.location, rows.t()).add_(self.keys)
        inner.view(self.shape).add_(query[:, :, None])
        return inner.sigmoid_()

    def step(self, t: int, query: Tensor) -> Tensor:
        """Return the alignment (B, N) of step t, and store it as row t + 1."""
        _, B, N = self.shape
        squashed = self.squashed(self.rows(t), query)
        if self.kept is not None:
            self.kept.append(squashed)
        energy = torch.mv(squashed.t(), self.energy)
        alignment = torch.softmax(energy.view(B, N).add_(self.padding), 1)
        self.alignment[t + 1].copy_(alignment)
        torch.add(self.cumulative[t], alignment, out=self.cumulative[t + 1])
        return alignment


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
    ) -> tuple[Tensor, Tensor, Tensor]:
        T, B, E, A = len(gates), *memory.shape[::2], query.shape[1]
        fed = gates.new_zeros(T + 1, B, E + A)  # [context; hidden] after step t is at t + 1
        fed_, context, hidden = (part.unbind(0) for part in (fed, fed[:, :, :E], fed[:, :, E:]))
        cells = Cells(gates, dropout)
        attention = _Attention(keys, padding, location, energy, T)
        weight, double_query = packed(recurrent.to(gates.dtype), B), (2 * query).to(gates.dtype)
        queries = []
        for t in range(T):
            cells.step(t, product(fed_[t], weight), hidden[t + 1])
            queries.append((double_query @ hidden[t + 1].t()).to(keys.dtype))
            alignment = attention.step(t, queries[t])
            context[t + 1].copy_(torch.bmm(alignment[:, None], memory)[:, 0])
        ctx.fed, ctx.cells, ctx.attention, ctx.queries = fed, cells, attention, queries
        ctx.save_for_backward(memory, recurrent, query, location, energy)
        return fed[1:, :, E:], fed[1:, :, :E], attention.alignments[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        memory, recurrent, query, location, energy = ctx.saved_tensors
        fed, attention, back = ctx.fed, ctx.attention, ctx.cells.gradients()
        d_hidden, d_context, d_alignment = (gradient.unbind(0) for gradient in gradients)
        (T, B, E), (D, _, N), K = (len(d_hidden), len(memory), memory.shape[2]), attention.shape, location.shape[2]
        kind = memory.dtype
        d_contexts, d_queries = memory.new_empty(T, B, E), memory.new_empty(T, D, B)
        d_keys, d_location, d_energy = torch.zeros_like(attention.keys), memory.new_zeros(D, 2 * K), torch.zeros_like(energy)
        d_fed = memory.new_zeros(B, fed.shape[2])
        d_before, d_sum = memory.new_zeros(B, N), memory.new_zeros(B, N)  # of the previous and of the cumulative alignment
        memory_t = memory.transpose(1, 2).contiguous()
        weight = packed(recurrent.t().to(fed.dtype), B)
        # The energy vector is a factor of all gradients behind an energy: it is applied last, where tensors are small.
        factor = attention.energy[:, None]
        weighed_query, fold = 2 * factor * query, _Fold(attention, K)
        for t in range(T - 1, -1, -1):
            # Attention: context, softmax, then the energies, whose tanh is computed again.
            torch.add(d_context[t], d_fed[:, :E], out=d_contexts[t])
            d_weights = torch.bmm(d_contexts[t, :, None], memory_t)[:, 0].add_(d_alignment[t]).add_(d_before).add_(d_sum)
            d_score = torch._softmax_backward_data(d_weights, attention.alignment[t + 1], 1, kind).view(B * N)
            rows = attention.rows(t)
            squashed = attention.kept[t] if attention.kept else attention.squashed(rows, ctx.queries[t])
            d_energy.addmv_(squashed, d_score, alpha=2)  # instead of 2 squashed - 1: the gradients of the scores sum to 0
            d_inner = _sigmoid_backward(d_score.expand_as(squashed), squashed)
            d_keys += d_inner
            torch.sum(d_inner.view(D, B, N), 2, out=d_queries[t])
            d_location += product(d_inner, rows)
            d_before, d_cumulative = fold.back(d_inner)
            d_sum += d_cumulative
            # LSTM.
            d_state = torch.addmm(d_fed[:, E:], d_queries[t].t(), weighed_query).add_(d_hidden[t])
            d_fed = product(back.step(t, d_state), weight).to(kind)
        d_recurrent = outer(back.gates.view(T * B, -1), fed[:-1].view(T * B, -1))
        hidden = fed[1:, :, E:].reshape(T * B, -1)
        d_query = 2 * factor * outer(d_queries.transpose(1, 2).reshape(T * B, D).to(fed.dtype), hidden)
        d_memory = torch.bmm(attention.alignments[1:].permute(1, 2, 0), d_contexts.transpose(0, 1))
        d_keys = (2 * factor * d_keys).view(D, B, N).permute(1, 2, 0)
        d_location = (2 * factor * d_location).view(D, 2, K)
        return back.gates, d_memory, d_keys, None, None, d_recurrent.to(kind), d_query.to(kind), d_location, d_energy


class _Fold:
    """The gradient of both alignments from that of the argument of the energies' tanh, without the energy vector."""

    def __init__(self, attention: _Attention, K: int) -> None:
        D, B, N = attention.shape
        self.inside = 2, K, B, N
        weighed = attention.energy[:, None] * attention.location
        self.filter = weighed.view(D, 2, K).flip(2).reshape(D, 2 * K).t().contiguous()
        # The gradients of the windows are written from column K // 2 on; a symbol's gradient is then a sum along a diagonal.
        padded = attention.keys.new_zeros(2, K, B, N + K - 1)
        self.middle = padded[:, :, :, K // 2 : K // 2 + N]
        s = padded.stride()
        self.diagonal = padded.as_strided((2, B, N, K), (s[0], s[2], s[3], s[1] + s[3]))

    def back(self, d_inner: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients (B, N) of the previous and of the cumulative alignment for d_inner (D, B N)."""
        self.middle.copy_(product(self.filter, d_inner.t()).view(self.inside))
        before, cumulative = self.diagonal.sum(3)
        return before, cumulative
