"""The parameters that every kind of attention has, and the interface of a kind."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from model.config import Network
from model.cpu import matmul
from model.layers import ifog
from model.recurrence import StepWeights


class Attention(nn.Module, ABC):
    """Parameters of the recurrence, named and shaped as in NVIDIA/tacotron2. `weights` merges them for the loop.

    A kind adds its own parameters, `memory` among them, which turns memory (B, N, E) into keys (B, N, D), and returns from
    `weights` the merged weights of a step with the step itself (`model.recurrence.StepWeights`).
    """

    memory: nn.Module

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(network.prenet + network.encoder, network.attention_rnn)
        self.prenet = network.prenet

    @abstractmethod
    def weights(self) -> StepWeights:
        """Return the weights of one step, merged once for a sequence."""

    def recurrent(self) -> Tensor:
        """Return the LSTM's weights (4A, E + A) for [context; hidden], gates in the order of `ifog`."""
        return ifog(torch.cat([self.rnn.weight_ih[:, self.prenet :], self.rnn.weight_hh], 1))

    def gates(self, x: Tensor) -> Tensor:
        """Return the part (..., 4A) of the LSTM's gates that comes from the prenet's outputs x (..., P)."""
        return matmul.linear(x, ifog(self.rnn.weight_ih[:, : self.prenet]), ifog(self.rnn.bias_ih + self.rnn.bias_hh))
