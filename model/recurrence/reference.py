"""The attention recurrence in plain autograd: the one to read."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.recurrence import Inputs, Weights


@dataclass(frozen=True, slots=True)
class State:
    hidden: Tensor  # (B, A)
    cell: Tensor  # (B, A)
    context: Tensor  # (B, E)
    alignment: Tensor  # (B, N)
    cumulative: Tensor  # (B, N)

    @classmethod
    def zero(cls, memory: Tensor, features: int) -> "State":
        """The state before the first step, for memory (B, N, E) and an attention LSTM of `features`."""
        batch, symbols, width = memory.shape
        hidden, alignment = memory.new_zeros(batch, features), memory.new_zeros(batch, symbols)
        return cls(hidden, hidden, memory.new_zeros(batch, width), alignment, alignment)


def step(
    state: State, gates: Tensor, memory: Tensor, keys: Tensor, padding: Tensor, weights: Weights, dropout: Tensor | None
) -> State:
    """One decoder step: `gates` (B, 4A) is the step's prenet part, `dropout` its (B, A) mask."""
    features = state.hidden.shape[1]
    gates = gates + torch.cat([state.context, state.hidden], 1) @ weights.recurrent.t()
    enter, forget, leave = gates[:, : 3 * features].sigmoid().chunk(3, 1)
    cell = forget * state.cell + enter * gates[:, 3 * features :].tanh()
    hidden = leave * cell.tanh()
    if dropout is not None:
        hidden = hidden * dropout
    before = torch.stack([state.alignment, state.cumulative], 1)  # (B, 2, N)
    location = F.conv1d(before, weights.location, padding=weights.location.shape[2] // 2).transpose(1, 2)  # (B, N, D)
    energy = torch.tanh((hidden @ weights.query.t())[:, None] + location + keys) @ weights.energy  # (B, N)
    alignment = energy.masked_fill(padding, -torch.inf).softmax(1)
    context = torch.bmm(alignment[:, None], memory)[:, 0]
    return State(hidden, cell, context, alignment, state.cumulative + alignment)


def attend(inputs: Inputs, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`."""
    state = State.zero(inputs.memory, inputs.gates.shape[2] // 4)
    states = []
    for t, gates in enumerate(inputs.gates):
        dropout = None if inputs.dropout is None else inputs.dropout[t]
        state = step(state, gates, inputs.memory, inputs.keys, inputs.padding, weights, dropout)
        states.append(state)
    return (
        torch.stack([s.hidden for s in states]),
        torch.stack([s.context for s in states]),
        torch.stack([s.alignment for s in states]),
    )
