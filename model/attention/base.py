"""What every kind of attention has: an LSTM that asks, keys that answer, and one interface for the loop."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from model.config import Network
from model.cpu import matmul as products
from model.layers import ifog
from model.recurrence import Merged


class Attention(nn.Module, ABC):
    """Parameters of the recurrence, named and shaped as in NVIDIA/tacotron2. `weights` merges them for the loop.

    A kind adds its own parameters, `memory` among them, which turns memory (B, N, E) into keys (B, N, D), and returns from
    `weights` what one step needs: the initial state, and how a hidden state becomes an alignment (`model.recurrence.Merged`).
    """

    memory: nn.Module

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(network.prenet + network.encoder, network.attention_rnn)
        self.prenet = network.prenet

    @abstractmethod
    def weights(self) -> Merged:
        """The weights of one step, merged once for a whole sequence."""

    def recurrent(self) -> Tensor:
        """The LSTM's weights (4A, E + A) for [context; hidden], gates in the order of `ifog`."""
        return ifog(torch.cat([self.rnn.weight_ih[:, self.prenet :], self.rnn.weight_hh], 1))

    def gates(self, x: Tensor) -> Tensor:
        """Prenet outputs (..., P) -> their part of the LSTM's gates (..., 4A)."""
        return products.linear(x, ifog(self.rnn.weight_ih[:, : self.prenet]), ifog(self.rnn.bias_ih + self.rnn.bias_hh))
