"""The attention recurrence as one autograd Function for the whole sequence: fast on any device.

Autograd over the plain loop forms every weight's gradient in every step and adds it up; here the gradients of the gates and
of the query are kept, and each weight's gradient is one product after the loop. The energies' tanh, by far the largest
activation, is computed again on the way back. One product a step serves context and hidden state together.

Letters as in `model.recurrence`; P = K // 2 symbols of zero padding on either side of an alignment.
"""
from typing import Any

import torch
from torch import Tensor

from model.recurrence import Inputs, Weights


def attend(inputs: Inputs, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`."""
    hidden, context, alignment = _Recurrence.apply(  # type: ignore[no-untyped-call]
        inputs.gates,
        *(inputs.memory, inputs.keys, inputs.padding, inputs.dropout),
        *(weights.recurrent, weights.query, weights.location.flatten(1), weights.energy),
    )
    return hidden, context, alignment


class _Windows:
    """The K neighbours of every symbol in the previous and the cumulative alignment, as the rows of one matrix."""

    def __init__(self, like: Tensor, kernel: int) -> None:
        batch, symbols, _ = like.shape
        self.shape = batch, symbols, kernel
        self.padded = like.new_zeros(batch, 2, symbols + kernel - 1)
        self.inside = self.padded[:, :, kernel // 2 : kernel // 2 + symbols]
        self.view = self.padded.unfold(2, kernel, 1).permute(0, 2, 1, 3)  # (B, N, 2, K), no copy
        self.back = like.new_zeros(batch, symbols + kernel - 1, 2, kernel)
        # Gradients of the windows land in rows P.. of `back`; a symbol's own gradient is then a sum along a diagonal.
        s = self.back.stride()
        self.diagonal = self.back.as_strided((batch, 2, symbols, kernel), (s[0], s[2], s[1], s[1] + s[3]))

    def rows(self, alignment: Tensor, cumulative: Tensor) -> Tensor:
        """Two (B, N) -> (B N, 2 K)."""
        batch, symbols, kernel = self.shape
        self.inside[:, 0] = alignment
        self.inside[:, 1] = cumulative
        return self.view.reshape(batch * symbols, 2 * kernel)

    def fold(self, rows: Tensor) -> Tensor:
        """Gradient of `rows` (B N, 2 K), each kernel turned round -> gradient of both alignments (B, 2, N)."""
        batch, symbols, kernel = self.shape
        self.back[:, kernel // 2 : kernel // 2 + symbols] = rows.view(batch, symbols, 2, kernel)
        return self.diagonal.sum(3)


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
        location: Tensor,  # (D, 2K)
        energy: Tensor,  # (D,)
    ) -> tuple[Tensor, Tensor, Tensor]:
        T, B, A = gates.shape[0], gates.shape[1], gates.shape[2] // 4
        N, E = memory.shape[1:]
        D = keys.shape[2]
        fed = gates.new_zeros(T + 1, B, E + A)  # [context; hidden] after step t stands at t + 1
        activated = torch.empty_like(gates)
        cells = gates.new_zeros(T + 1, B, A)
        squashed = gates.new_empty(T, B, A)  # tanh of the cells
        alignments = gates.new_zeros(T + 1, B, N)
        cumulative = gates.new_zeros(T + 1, B, N)
        windows = _Windows(keys, location.shape[1] // 2)
        recurrent_t, query_t, location_t = (w.t().contiguous() for w in (recurrent, query, location))
        for t in range(T):
            gate = torch.addmm(gates[t], fed[t], recurrent_t, out=activated[t])
            enter, forget, leave = gate[:, : 3 * A].sigmoid_().chunk(3, 1)
            torch.mul(forget, cells[t], out=cells[t + 1]).addcmul_(enter, gate[:, 3 * A :].tanh_())
            hidden = fed[t + 1, :, E:]
            torch.mul(leave, torch.tanh(cells[t + 1], out=squashed[t]), out=hidden)
            if dropout is not None:
                hidden.mul_(dropout[t])
            where = windows.rows(alignments[t], cumulative[t]) @ location_t
            score = where.view(B, N, D).add_(keys).add_((hidden @ query_t)[:, None]).tanh_() @ energy
            torch.softmax(score.masked_fill_(padding, -torch.inf), 1, out=alignments[t + 1])
            torch.add(cumulative[t], alignments[t + 1], out=cumulative[t + 1])
            fed[t + 1, :, :E] = torch.bmm(alignments[t + 1, :, None], memory)[:, 0]
        ctx.save_for_backward(
            *(memory, keys, dropout, recurrent, query, location, energy),
            *(fed, activated, cells, squashed, alignments, cumulative),
        )
        return fed[1:, :, E:].clone(), fed[1:, :, :E].clone(), alignments[1:].clone()

    @staticmethod
    def backward(ctx: Any, d_hidden: Tensor, d_context: Tensor, d_alignment: Tensor) -> tuple[Tensor | None, ...]:
        memory, keys, dropout, recurrent, query, location, energy = ctx.saved_tensors[:7]
        fed, activated, cells, squashed, alignments, cumulative = ctx.saved_tensors[7:]
        T, B, A = squashed.shape
        N, E = memory.shape[1:]
        D, K = keys.shape[2], location.shape[1] // 2
        windows = _Windows(keys, K)
        memory_t, query_t, location_t = memory.transpose(1, 2).contiguous(), query.t().contiguous(), location.t().contiguous()
        turned = location.view(D, 2, K).flip(2).reshape(D, 2 * K)
        d_gates = torch.empty_like(activated)
        d_queries, d_contexts = fed.new_empty(T, B, D), fed.new_empty(T, B, E)
        d_keys, d_location, d_energy = torch.zeros_like(keys), torch.zeros_like(location), torch.zeros_like(energy)
        d_fed, d_cell = fed.new_zeros(B, E + A), fed.new_zeros(B, A)
        d_before, d_sum = fed.new_zeros(B, N), fed.new_zeros(B, N)  # of the previous and of the cumulative alignment
        for t in range(T - 1, -1, -1):
            torch.add(d_context[t], d_fed[:, :E], out=d_contexts[t])
            # Attention: context, then softmax, then the energies with their tanh computed again.
            d_weights = torch.bmm(d_contexts[t, :, None], memory_t)[:, 0].add_(d_alignment[t]).add_(d_before).add_(d_sum)
            weights = alignments[t + 1]
            d_score = weights * (d_weights - (weights * d_weights).sum(1, keepdim=True))  # (B, N)
            rows = windows.rows(alignments[t], cumulative[t])
            queried = (fed[t + 1, :, E:] @ query_t)[:, None]
            squash = (rows @ location_t).view(B, N, D).add_(keys).add_(queried).tanh_()
            d_energy += squash.view(B * N, D).t() @ d_score.view(B * N)
            d_inner = (1 - squash.square_()).mul_(energy).mul_(d_score[:, :, None])  # (B, N, D)
            d_keys += d_inner
            torch.sum(d_inner, 1, out=d_queries[t])
            flat = d_inner.view(B * N, D)
            d_location.addmm_(flat.t(), rows)
            d_windows = windows.fold(flat @ turned)
            d_before = d_windows[:, 0]
            d_sum = d_sum + d_windows[:, 1]
            # LSTM.
            d_state = torch.addmm(d_fed[:, E:], d_queries[t], query).add_(d_hidden[t])
            if dropout is not None:
                d_state.mul_(dropout[t])
            enter, forget, leave, new = activated[t].chunk(4, 1)
            d_cell = torch.addcmul(d_cell, d_state * leave, 1 - squashed[t].square())
            d_gate = d_gates[t]
            d_gate[:, :A] = d_cell * new * enter * (1 - enter)
            d_gate[:, A : 2 * A] = d_cell * cells[t] * forget * (1 - forget)
            d_gate[:, 2 * A : 3 * A] = d_state * squashed[t] * leave * (1 - leave)
            d_gate[:, 3 * A :] = d_cell * enter * (1 - new.square())
            d_cell = d_cell * forget
            d_fed = d_gate @ recurrent
        d_recurrent = d_gates.view(T * B, 4 * A).t() @ fed[:-1].view(T * B, E + A)
        d_query = d_queries.view(T * B, D).t() @ fed[1:, :, E:].reshape(T * B, A)
        d_memory = torch.bmm(alignments[1:].permute(1, 2, 0), d_contexts.transpose(0, 1))
        return d_gates, d_memory, d_keys, None, None, d_recurrent, d_query, d_location, d_energy
