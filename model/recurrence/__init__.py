"""The attention recurrence of Tacotron 2 under teacher forcing: one interface, equal implementations.

Under teacher forcing only the attention LSTM and the attention feed themselves; prenet, decoder LSTM and projections are
functions of the stacked sequences and stand outside the loop (they appear on no right-hand side of the recurrence):

    h_t = drop(LSTM([x_t; c_(t-1)], h_(t-1)))
    e_t = v . tanh(W_q h_t + W_l * [a_(t-1); a_1 + ... + a_(t-1)] + keys)
    a_t = softmax(e_t),   c_t = a_t . memory                          (arXiv:1712.05884, 2.2; arXiv:1506.07503, eq. 9)

T decoder steps, B batch, N symbols, A attention LSTM, E memory, D attention, K location kernel.
"""
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Weights:
    """What one step multiplies with. Gates stand in the order input, forget, output, cell: three sigmoids, then the tanh."""

    recurrent: Tensor  # (4A, E + A), applied to [context; hidden]
    query: Tensor  # (D, A)
    location: Tensor  # (D, 2, K): convolution and dense merged; channel 0 is the previous alignment, 1 the sum of all
    energy: Tensor  # (D,), the vector v


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known before the loop."""

    gates: Tensor  # (T, B, 4A), prenet part of the LSTM's gates, biases included
    memory: Tensor  # (B, N, E), zeros on padding
    keys: Tensor  # (B, N, D), memory projected
    padding: Tensor  # (B, N) bool, True on padding
    dropout: Tensor | None  # (T, B, A) mask of the hidden state, scaled by 1 / (1 - p); None for no dropout


T = TypeVar("T", Inputs, Weights)


def attend(inputs: Inputs, weights: Weights, how: str = "deferred") -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states (T, B, A), contexts (T, B, E) and alignments (T, B, N), by the implementation named `how`.

    Under autocast, too, the loop runs in single precision: hundreds of additions to the cell state and to the cumulative
    alignment are more than eight bits of mantissa can bear.
    """
    if how == "reference":
        from model.recurrence.reference import attend as run
    else:
        from model.recurrence.deferred import attend as run
    with torch.autocast(inputs.gates.device.type, enabled=False):
        return run(_single(inputs), _single(weights))


def _single(values: T) -> T:
    """Half-precision tensors as single ones; the others as they are."""
    tensors = {field.name: getattr(values, field.name) for field in fields(values)}
    half = {name: tensor.float() for name, tensor in tensors.items() if tensor is not None and tensor.dtype in HALF}
    return replace(values, **half)
