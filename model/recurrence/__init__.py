"""The attention recurrence of Tacotron 2 under teacher forcing: one interface with several equivalent implementations.

Under teacher forcing only the attention LSTM and the attention are recurrent. Prenet, decoder LSTM and projections are
functions of complete sequences and stay outside of the loop, since they appear on no right-hand side of the recurrence:

    h_t = drop(LSTM([x_t; c_(t-1)], h_(t-1)))
    e_t = v . tanh(W_q h_t + W_l * [a_(t-1); a_1 + ... + a_(t-1)] + keys)
    a_t = softmax(e_t),   c_t = a_t . memory                          (arXiv:1712.05884, 2.2; arXiv:1506.07503, eq. 9)

T decoder steps, B batch, N symbols, A attention LSTM, E memory, D attention, K location kernel.
"""

from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


class StepWeights(Protocol):
    """The weights of one step of an attention, merged once for a sequence, and the step itself. A dataclass of tensors.

    Location-sensitive attention has them as `Weights`, for which there are fast implementations; any other kind of attention
    runs by the reference.
    """

    @property
    def recurrent(self) -> Tensor:
        """(4A, E + A), applied to [context; hidden]."""

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Return the attention's own state before the first step, besides the alignment, for memory (B, N, E)."""

    def step(
        self, hidden: Tensor, alignment: Tensor, state: tuple[Tensor, ...], memory: Tensor, keys: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return alignment (B, N), context (B, E) and the next state for a hidden state (B, A) and the last alignment (B, N).

        True in `padding` (B, N) gets no attention.
        """


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one step. Gates are in the order input, forget, output, cell: three sigmoids, then the tanh."""

    recurrent: Tensor  # (4A, E + A), applied to [context; hidden]
    query: Tensor  # (D, A)
    location: Tensor  # (D, 2, K): convolution and dense merged; channel 0 is the previous alignment, 1 the sum of all
    energy: Tensor  # (D,), the vector v

    def initial_state(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Return the sum of all alignments (B, N) so far: zeros."""
        return (memory.new_zeros(memory.shape[:2]),)

    def step(
        self, hidden: Tensor, alignment: Tensor, state: tuple[Tensor, ...], memory: Tensor, keys: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """See `StepWeights.step`."""
        (cumulative,) = state
        history = torch.stack([alignment, cumulative], 1)  # (B, 2, N)
        location = F.conv1d(history, self.location, padding=self.location.shape[2] // 2).transpose(1, 2)  # (B, N, D)
        energy = torch.tanh((hidden @ self.query.t())[:, None] + location + keys) @ self.energy  # (B, N)
        alignment = energy.masked_fill(padding, -torch.inf).softmax(1)
        return alignment, torch.bmm(alignment[:, None], memory)[:, 0], (cumulative + alignment,)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The tensors that are computed before the loop."""

    gates: Tensor  # (T, B, 4A), prenet part of the LSTM's gates, biases included
    memory: Tensor  # (B, N, E), zeros on padding
    keys: Tensor  # (B, N, D), memory projected
    padding: Tensor  # (B, N) bool, True on padding
    dropout: Tensor | None  # (T, B, A) mask of the hidden state, scaled by 1 / (1 - p); None for no dropout


T = TypeVar("T")


def implementation(how: str, device: torch.device) -> str:
    """Return the implementation that `how` stands for on `device`. Raises ValueError where it cannot run there.

    reference  plain autograd, the definition
    deferred   one autograd Function for the complete sequence, on any device
    cuda       the same as Triton kernels, on a GPU
    auto       cuda on a GPU where Triton is installed, else deferred
    """
    possible = device.type == "cuda" and find_spec("triton") is not None
    if how == "auto":
        return "cuda" if possible else "deferred"
    if how == "cuda" and not possible:
        obstacle = "Triton is not installed" if device.type == "cuda" else f"the device is the {device.type.upper()}"
        raise ValueError(f"network.recurrence cuda needs a GPU and Triton, {obstacle}: choose auto or deferred")
    return how


def attend(inputs: Inputs, weights: StepWeights, how: str = "auto") -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states (T, B, A), contexts (T, B, E) and alignments (T, B, N), by the implementation `how`.

    Under autocast the large products are multiplied in its half precision. States, energies, softmax and the sums of alignments
    stay in single precision: eight bits of mantissa are too few for hundreds of additions.
    """
    how = implementation(how, inputs.gates.device)
    with torch.autocast(inputs.gates.device.type, enabled=False):
        if isinstance(weights, Weights) and how == "cuda":
            from model.recurrence import triton_function as cuda  # imports Triton, which not every machine has

            return cuda.attend(inputs, weights, inputs.gates.dtype)
        if isinstance(weights, Weights) and how == "deferred":
            from model.recurrence import deferred  # the implementations import this module

            return deferred.attend(replace(_single(inputs), gates=inputs.gates), _single(weights))
        from model.recurrence import reference

        return reference.attend(_single(inputs), _single(weights))


def _single(values: T) -> T:
    """Convert the half-precision tensors of a dataclass to single precision, and leave the others as they are."""
    tensors = {field.name: getattr(values, field.name) for field in fields(values)}  # type: ignore[arg-type]
    half = {name: tensor.float() for name, tensor in tensors.items() if tensor is not None and tensor.dtype in HALF}
    return replace(values, **half)  # type: ignore[type-var]
