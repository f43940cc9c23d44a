"""Tacotron 2 (arXiv:1712.05884): text ids and, under teacher forcing, mels in; mels, gates and alignments out.

B batch, N symbols, M mel bands, r reduction factor, F mel frames, T = ceil(F / r) decoder steps,
E encoder, A attention LSTM, H decoder LSTM, D attention, P prenet.

Inside, mels are standardised by the corpus's mean and deviation (two buffers; 0 and 1 leave NVIDIA's units as they are).
Padding is invisible: no valid output depends on how far a batch is padded or on its other utterances, but for batch-norm
statistics in training, which count valid positions only.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention.kinds import attention_of
from model.config import Network
from model.cpu import matmul as products
from model.cpu.dropout import dropout, dropout_mask
from model.data.loading import Batch
from model.layers import BidirectionalLSTM, ConvolutionBlock, ifog, linear, run_lstm, valid_mask
from model.recurrence import HALF, Inputs, attend
from model.recurrence.decoder_lstm import lstm


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says about a batch. Mels are natural-log magnitudes, zero on padding."""

    mel_before: Tensor  # (B, F, M), before the postnet
    mel_after: Tensor  # (B, F, M)
    gate: Tensor  # (B, T) logits of "this is the last step"
    alignment: Tensor  # (B, T, N), rows sum to 1
    step_lengths: Tensor  # (B,) valid decoder steps
    symbol_lengths: Tensor  # (B,), of the text

    def detach(self) -> "Outputs":
        return Outputs(*(getattr(self, field.name).detach() for field in fields(self)))


class Prenet(nn.Module):
    """Two layers with dropout that stays on in synthesis: it keeps the decoder from trusting its own past too much."""

    def __init__(self, bands: int, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([linear(bands, features, bias=False), linear(features, features, bias=False)])
        self.features, self.dropout = features, dropout

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """(..., M) -> (..., P). `masks` (2, ..., P), one a layer as `draw` makes them, take the place of fresh ones."""
        for index, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            x = dropout(x, self.dropout) if masks is None else x * masks[index]
        return x

    def draw(self, steps: int, generator: torch.Generator) -> Tensor:
        """Masks (steps, 2, P) of 0 and 1 / (1 - p). Drawn step by step: the next call goes on where this one ended."""
        return (torch.rand(steps, 2, self.features, generator=generator) >= self.dropout) / (1 - self.dropout)


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
        self.attention = attention_of(network)
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
        kept = self._state_dropout(gates, self.network.attention_dropout)
        inputs = Inputs(gates, memory, self.attention.memory(memory), padding, kept)
        with torch.autocast(memory.device.type, enabled=False):  # the filter's two factors make one in single precision
            weights = self.attention.weights()
        hidden, context, alignment = attend(inputs, weights, self.network.recurrence)

        decoded = self._decode(torch.cat([hidden, context], 2))  # (T, B, H)
        seen = torch.cat([decoded, context], 2).transpose(0, 1)  # (B, T, H + E)
        before = self.projection(seen).reshape(len(seen), steps * r, self.bands)[:, :frames] * mask[:, :, None]
        after = before + self.postnet(before, mask)
        return Outputs(
            *(self._restore(before, mask), self._restore(after, mask)),
            *(self.gate(seen)[:, :, 0], alignment.transpose(0, 1)),
            *((batch.frame_lengths + r - 1) // r, batch.symbol_lengths),
        )

    def _restore(self, mels: Tensor, mask: Tensor) -> Tensor:
        wide = mels.to(torch.promote_types(mels.dtype, torch.float32))  # a log-mel's steps in bf16 are 0.06
        return (wide * self.mel_std + self.mel_mean) * mask[:, :, None]

    def _decode(self, heard: Tensor) -> Tensor:
        """Attention LSTM and contexts (T, B, A + E) -> decoder LSTM (T, B, H)."""
        rnn, share = self.decoder_rnn, self.network.decoder_dropout
        on_state = self.network.decoder_dropout_mode == "state"
        # The library's LSTM drops no state, and on a CPU its way back is three times as slow in half precision as ours.
        if not on_state and (heard.device.type != "cpu" or heard.dtype not in HALF):
            return dropout(run_lstm(rnn, heard), share, self.training)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        into, recurrent, *biases = (rnn.get_parameter(name) for name in names)
        gates = products.linear(heard, ifog(into), ifog(biases[0] + biases[1]))
        if on_state:
            return lstm(gates, ifog(recurrent), self._state_dropout(gates, share))
        return dropout(lstm(gates, ifog(recurrent), None), share, self.training)

    def _state_dropout(self, gates: Tensor, share: float) -> Tensor | None:
        """Gates (T, B, 4A) -> a mask (T, B, A) for the state that they make."""
        if not self.training or share == 0:
            return None
        steps, batch, features = gates.shape
        return dropout_mask((steps, batch, features // 4), share, gates)
