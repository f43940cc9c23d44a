"""An LSTM over a complete sequence as one autograd Function, for the decoder LSTM.

NVIDIA applies dropout to its state in every step, which no library's LSTM does. In half precision on a CPU this one is faster,
too. The input part of its gates is computed before it, the gradient of its weight in one product after the loop.

T steps, B batch, H features. Gates are in the order input, forget, output, cell. Products are multiplied in the type of the
gates; cell states are in single precision (in double precision for double).
"""

from typing import Any

import torch
from torch import Tensor

from model.cpu.matmul import outer, packed, product

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def lstm(gates: Tensor, recurrent: Tensor, dropout: Tensor | None) -> Tensor:
    """Return the hidden states (T, B, H) of an LSTM.

    gates (T, B, 4H) is the input part, biases included; recurrent (4H, H); dropout (T, B, H) multiplies the hidden states.
    """
    hidden: Tensor = _LSTM.apply(gates, recurrent, dropout)  # type: ignore[no-untyped-call]
    return hidden


def tanh_(x: Tensor) -> Tensor:
    """Apply tanh in place, by PyTorch's sigmoid, which is ten times as fast on a CPU as its tanh."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


class Cells:
    """The pointwise part of an LSTM's steps, and the values that its backward pass needs.

    The lists of views are made once: taking views in every step costs as much as the arithmetic of a small network.
    """

    def __init__(self, gates: Tensor, dropout: Tensor | None) -> None:
        T, B, H = gates.shape[0], gates.shape[1], gates.shape[2] // 4
        self.kind = torch.promote_types(gates.dtype, torch.float32)
        self.features, self.given = H, gates.unbind(0)
        activated = gates.new_empty(T, B, 4 * H, dtype=self.kind)
        cells = gates.new_empty(T + 1, B, H, dtype=self.kind)
        cells[0] = 0
        self.activated, self.sigmoids = activated.unbind(0), activated[:, :, : 3 * H].unbind(0)
        self.enter, self.forget, self.leave, self.new = (part.unbind(0) for part in activated.chunk(4, 2))
        self.cell = cells.unbind(0)
        self.squashed = torch.empty_like(cells[1:]).unbind(0)  # tanh of the cells
        self.dropout = None if dropout is None else dropout.unbind(0)

    def step(self, t: int, fed: Tensor, hidden: Tensor) -> None:
        """Compute step t into `hidden` (B, H), from `fed` (B, 4H), the product with the state before."""
        torch.add(self.given[t], fed.to(self.kind), out=self.activated[t])
        self.sigmoids[t].sigmoid_()
        tanh_(self.new[t])
        torch.mul(self.forget[t], self.cell[t], out=self.cell[t + 1]).addcmul_(self.enter[t], self.new[t])
        torch.mul(self.leave[t], tanh_(self.squashed[t].copy_(self.cell[t + 1])), out=hidden)
        if self.dropout is not None:
            hidden.mul_(self.dropout[t])

    def gradients(self) -> "_Gradients":
        """Return the backward pass through these steps."""
        return _Gradients(self)


class _Gradients:
    """The backward pass through `Cells`, from the last step to the first."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        like, H, T = cells.given[0], cells.features, len(cells.given)
        self.gates = like.new_empty(T, *like.shape)  # (T, B, 4H), in the type of the gates
        self.gate = self.gates.unbind(0)
        self.d_cell, self.through = (like.new_zeros(like.shape[0], H, dtype=cells.kind) for _ in range(2))
        # Half-precision gradients are computed in a wider buffer, one for all steps.
        self.buffered = like.dtype != cells.kind
        work = like.new_empty(1, *like.shape, dtype=cells.kind).expand(T, -1, -1) if self.buffered else self.gates
        self.work, self.sigmoids = work.unbind(0), work[:, :, : 3 * H].unbind(0)
        self.enter, self.forget, self.leave, self.new = (part.unbind(0) for part in work.chunk(4, 2))

    def step(self, t: int, d_hidden: Tensor) -> Tensor:
        """Return the gradient of the gates (B, 4H) for d_hidden (B, H), which is overwritten."""
        cells, d_cell, through = self.cells, self.d_cell, self.through
        if cells.dropout is not None:
            d_hidden.mul_(cells.dropout[t])
        torch.mul(d_hidden, cells.leave[t], out=through)
        d_cell += _tanh_backward(through, cells.squashed[t], grad_input=through)
        torch.mul(d_cell, cells.new[t], out=self.enter[t])
        torch.mul(d_cell, cells.cell[t], out=self.forget[t])
        torch.mul(d_hidden, cells.squashed[t], out=self.leave[t])
        torch.mul(d_cell, cells.enter[t], out=self.new[t])
        _sigmoid_backward(self.sigmoids[t], cells.sigmoids[t], grad_input=self.sigmoids[t])
        _tanh_backward(self.new[t], cells.new[t], grad_input=self.new[t])
        d_cell *= cells.forget[t]
        return self.gate[t].copy_(self.work[t]) if self.buffered else self.gate[t]


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, recurrent: Tensor, dropout: Tensor | None) -> Tensor:
        T, B, H = gates.shape[0], gates.shape[1], gates.shape[2] // 4
        hidden = gates.new_zeros(T + 1, B, H)
        states, cells = hidden.unbind(0), Cells(gates, dropout)
        weight = packed(recurrent.to(gates.dtype), B)
        for t in range(T):
            cells.step(t, product(states[t], weight), states[t + 1])
        ctx.hidden, ctx.cells = hidden, cells
        ctx.save_for_backward(recurrent)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (recurrent,) = ctx.saved_tensors
        hidden: Tensor = ctx.hidden
        back = ctx.cells.gradients()
        T, B, H = len(hidden) - 1, hidden.shape[1], hidden.shape[2]
        d_hidden = gradients[0].unbind(0)
        weight = packed(recurrent.t().to(hidden.dtype), B)
        d_state = hidden.new_zeros(B, H)
        for t in range(T - 1, -1, -1):
            d_state = product(back.step(t, torch.add(d_hidden[t], d_state).to(back.cells.kind)), weight)
        d_recurrent = outer(back.gates.view(T * B, 4 * H), hidden[:-1].reshape(T * B, H))
        return back.gates, d_recurrent.to(recurrent.dtype), None
