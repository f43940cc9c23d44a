"""The attention recurrence in plain autograd: the definition, and the implementation to read first."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.recurrence import Inputs, StepWeights


@dataclass(frozen=True, slots=True)
class State:
    """The state that a step passes to the next one."""

    hidden: Tensor  # (B, A)
    cell: Tensor  # (B, A)
    context: Tensor  # (B, E)
    alignment: Tensor  # (B, N)
    attention: tuple[Tensor, ...]  # the state of the kind of attention, besides the alignment

    @classmethod
    def zero(cls, memory: Tensor, features: int, weights: StepWeights) -> "State":
        """Return the state before the first step, for memory (B, N, E) and an attention LSTM of `features`."""
        batch, symbols, width = memory.shape
        hidden, alignment = memory.new_zeros(batch, features), memory.new_zeros(batch, symbols)
        return cls(hidden, hidden, memory.new_zeros(batch, width), alignment, weights.initial_state(memory))


def step(
    state: State, gates: Tensor, memory: Tensor, keys: Tensor, padding: Tensor, weights: StepWeights, dropout: Tensor | None
) -> State:
    """Run one decoder step: `gates` (B, 4A) is the step's prenet part, `dropout` its (B, A) mask."""
    hidden, cell = lstm_step(gates + torch.cat([state.context, state.hidden], 1) @ weights.recurrent.t(), state.cell)
    if dropout is not None:
        hidden = hidden * dropout
    alignment, context, attention = weights.step(hidden, state.alignment, state.attention, memory, keys, padding)
    return State(hidden, cell, context, alignment, attention)


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next hidden state and cell of an LSTM with gates (B, 4A) and cell (B, A)."""
    features = cell.shape[1]
    enter, forget, leave = gates[:, : 3 * features].sigmoid().chunk(3, 1)
    cell = forget * cell + enter * gates[:, 3 * features :].tanh()
    return leave * cell.tanh(), cell


def attend(inputs: Inputs, weights: StepWeights) -> tuple[Tensor, Tensor, Tensor]:
    """See `model.recurrence.attend`."""
    state = State.zero(inputs.memory, inputs.gates.shape[2] // 4, weights)
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
