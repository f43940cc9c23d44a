"""Location-sensitive attention (arXiv:1506.07503, eq. 9; in Tacotron 2: arXiv:1712.05884, 2.2)."""

import torch
from torch import nn

from model.attention.base import Attention
from model.config import Network
from model.layers import linear
from model.recurrence import Weights


class LocationAttention(Attention):
    """Score each symbol by the query, its key, the last alignment and the sum of all alignments."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.query = linear(network.attention_rnn, network.attention, "tanh", bias=False)
        self.memory = linear(network.encoder, network.attention, "tanh", bias=False)
        self.energy = linear(network.attention, 1, bias=False)
        self.location = nn.Conv1d(2, network.location_filters, network.location_kernel, bias=False)
        nn.init.xavier_uniform_(self.location.weight)
        self.location_dense = linear(network.location_filters, network.attention, "tanh", bias=False)

    def weights(self) -> Weights:
        """Return the merged weights of one step, the two layers of the location filter as one."""
        location = torch.einsum("df,fck->dck", self.location_dense.weight, self.location.weight)
        return Weights(self.recurrent(), self.query.weight, location, self.energy.weight[0])
