"""Tacotron 2 (arXiv:1712.05884): text ids and, under teacher forcing, mels in; mels, gates and alignments out.

B batch, N symbols, M mel bands, r reduction factor, F mel frames, T = ceil(F / r) decoder steps,
E encoder, A attention LSTM, H decoder LSTM, D attention, P prenet.

Inside, mels are standardised by the corpus's mean and deviation (two buffers; 0 and 1 leave NVIDIA's units as they are).
Padding is invisible: no valid output depends on how far a batch is padded or on its other utterances, but for batch-norm
statistics in training, which count valid positions only.
"""
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Network
from model.data.batching import Batch
from model.layers import BidirectionalLSTM, ConvolutionBlock, linear, valid_mask
from model.recurrence import Inputs, Weights, attend
from model.recurrence.reference import State, step


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says about a batch. Mels are natural-log magnitudes, zero on padding."""

    mel_before: Tensor  # (B, F, M), before the postnet
    mel_after: Tensor  # (B, F, M)
    gate: Tensor  # (B, T) logits of "this is the last step"
    alignment: Tensor  # (B, T, N), rows sum to 1
    step_lengths: Tensor  # (B,) valid decoder steps


class Prenet(nn.Module):
    """Two layers with dropout that stays on in synthesis: it keeps the decoder from trusting its own past too much."""

    def __init__(self, bands: int, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([linear(bands, features, bias=False), linear(features, features, bias=False)])
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., M) -> (..., P)."""
        for layer in self.layers:
            x = F.dropout(F.relu(layer(x)), self.dropout, True)
        return x


class Encoder(nn.Module):
    def __init__(self, network: Network, symbols: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, network.embedding)
        bound = (6 / (symbols + network.embedding)) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        widths = [network.embedding, *[network.encoder] * network.encoder_convolutions]
        self.convolutions = nn.ModuleList(
            ConvolutionBlock(inputs, outputs, network.encoder_kernel, "relu", network.encoder_dropout)
            for inputs, outputs in pairwise(widths)
        )
        self.lstm = BidirectionalLSTM(network.encoder, network.encoder)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, N), lengths (B,) -> memory (B, N, E), zeros on padding."""
        mask = valid_mask(lengths, ids.shape[1])[:, None]
        x = self.embedding(ids).transpose(1, 2) * mask
        for block in self.convolutions:
            x = block(x, mask.to(x.dtype))
        memory: Tensor = self.lstm(x.transpose(1, 2), lengths)
        return memory


class Attention(nn.Module):
    """The parameters of the recurrence, in the shapes that NVIDIA/tacotron2 has; `weights` merges them for the loop."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(network.prenet + network.encoder, network.attention_rnn)
        self.query = linear(network.attention_rnn, network.attention, "tanh", bias=False)
        self.memory = linear(network.encoder, network.attention, "tanh", bias=False)
        self.energy = linear(network.attention, 1, bias=False)
        self.location = nn.Conv1d(2, network.location_filters, network.location_kernel, bias=False)
        nn.init.xavier_uniform_(self.location.weight)
        self.location_dense = linear(network.location_filters, network.attention, "tanh", bias=False)
        self.prenet = network.prenet

    def weights(self) -> Weights:
        recurrent = torch.cat([self.rnn.weight_ih[:, self.prenet :], self.rnn.weight_hh], 1)
        location = torch.einsum("df,fck->dck", self.location_dense.weight, self.location.weight)
        return Weights(_ifog(recurrent), self.query.weight, location, self.energy.weight[0])

    def gates(self, x: Tensor) -> Tensor:
        """Prenet outputs (..., P) -> their part of the LSTM's gates (..., 4A)."""
        return F.linear(x, _ifog(self.rnn.weight_ih[:, : self.prenet]), _ifog(self.rnn.bias_ih + self.rnn.bias_hh))


def _ifog(gates: Tensor) -> Tensor:
    """Rows in PyTorch's order (input, forget, cell, output) -> input, forget, output, cell."""
    enter, forget, new, leave = gates.chunk(4)
    return torch.cat([enter, forget, leave, new])


class Postnet(nn.Module):
    def __init__(self, network: Network, bands: int) -> None:
        super().__init__()
        widths = [bands, *[network.postnet] * (network.postnet_convolutions - 1), bands]
        last = network.postnet_convolutions - 1
        self.convolutions = nn.ModuleList(
            ConvolutionBlock(
                *(widths[i], widths[i + 1], network.postnet_kernel),
                *("tanh" if i < last else "linear", network.postnet_dropout),
            )
            for i in range(network.postnet_convolutions)
        )

    def forward(self, mels: Tensor, mask: Tensor) -> Tensor:
        """Standardised mels (B, F, M) with zeros on padding, mask (B, F) -> the correction to add."""
        x, inside = mels.transpose(1, 2), mask[:, None].to(mels.dtype)
        for block in self.convolutions:
            x = block(x, inside)
        return x.transpose(1, 2)


class Tacotron2(nn.Module):
    def __init__(self, network: Network, symbols: int, bands: int, mel_mean: float = 0.0, mel_std: float = 1.0) -> None:
        super().__init__()
        self.network, self.bands = network, bands
        self.encoder = Encoder(network, symbols)
        self.prenet = Prenet(bands, network.prenet, network.prenet_dropout)
        self.attention = Attention(network)
        self.decoder_rnn = nn.LSTM(network.attention_rnn + network.encoder, network.decoder_rnn)
        self.projection = linear(network.decoder_rnn + network.encoder, bands * network.reduction)
        self.gate = linear(network.decoder_rnn + network.encoder, 1, "sigmoid")
        self.postnet = Postnet(network, bands)
        self.register_buffer("mel_mean", torch.tensor(mel_mean))
        self.register_buffer("mel_std", torch.tensor(mel_std))
        self.mel_mean: Tensor
        self.mel_std: Tensor

    def forward(self, batch: Batch) -> Outputs:
        """Teacher-forced: step t sees the true mels of the steps before it."""
        r = self.network.reduction
        frames = batch.mels.shape[1]
        steps = -(-frames // r)
        mask = valid_mask(batch.frame_lengths, frames)  # (B, F)
        true = (batch.mels - self.mel_mean) / self.mel_std * mask[:, :, None]
        # The step before hands over its last frame; before the first there is silence's stand-in, zeros.
        last = true[:, r - 1 :: r][:, : steps - 1].transpose(0, 1)
        x = self.prenet(torch.cat([last.new_zeros(1, *last.shape[1:]), last]))  # (T, B, P)

        memory = self.encoder(batch.ids, batch.symbol_lengths)  # (B, N, E)
        padding = ~valid_mask(batch.symbol_lengths, batch.ids.shape[1])
        gates = self.attention.gates(x)  # (T, B, 4A)
        dropout = self._attention_dropout(gates)
        inputs = Inputs(gates, memory, self.attention.memory(memory), padding, dropout)
        hidden, context, alignment = attend(inputs, self.attention.weights(), self.network.recurrence)

        decoded, _ = self.decoder_rnn(torch.cat([hidden, context], 2))  # (T, B, H)
        decoded = F.dropout(decoded, self.network.decoder_dropout, self.training)
        seen = torch.cat([decoded, context], 2).transpose(0, 1)  # (B, T, H + E)
        before = self.projection(seen).reshape(len(seen), steps * r, self.bands)[:, :frames] * mask[:, :, None]
        after = before + self.postnet(before, mask)
        return Outputs(
            *(self._restore(before, mask), self._restore(after, mask)),
            *(self.gate(seen)[:, :, 0], alignment.transpose(0, 1)),
            (batch.frame_lengths + r - 1) // r,
        )

    def _restore(self, mels: Tensor, mask: Tensor) -> Tensor:
        return (mels * self.mel_std + self.mel_mean) * mask[:, :, None]

    def _attention_dropout(self, gates: Tensor) -> Tensor | None:
        share = self.network.attention_dropout
        if not self.training or share == 0:
            return None
        steps, batch, features = gates.shape
        return F.dropout(gates.new_ones(steps, batch, features // 4), share)


class Decoder:
    """The same network one step at a time, each step fed with a frame: its own last one in synthesis.

    One definition of a step for synthesis and for the law that hoisted equals step-wise.
    """

    def __init__(self, network: Tacotron2, ids: Tensor, lengths: Tensor) -> None:
        self.network = network
        self.memory = network.encoder(ids, lengths)
        self.keys = network.attention.memory(self.memory)
        self.padding = ~valid_mask(lengths, ids.shape[1])
        self.weights = network.attention.weights()
        self.state = State.zero(self.memory, network.network.attention_rnn)
        zero = self.memory.new_zeros(1, len(ids), network.network.decoder_rnn)
        self.decoder_state = (zero, zero)

    def step(self, frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last standardised frame (B, M) -> r standardised frames (B, r, M), gate logits (B,), alignment (B, N)."""
        net = self.network
        gates = net.attention.gates(net.prenet(frame))
        self.state = step(self.state, gates, self.memory, self.keys, self.padding, self.weights, None)
        decoded, self.decoder_state = net.decoder_rnn(
            torch.cat([self.state.hidden, self.state.context], 1)[None], self.decoder_state
        )
        seen = torch.cat([decoded[0], self.state.context], 1)
        frames = net.projection(seen).view(len(seen), net.network.reduction, net.bands)
        return frames, net.gate(seen)[:, 0], self.state.alignment
