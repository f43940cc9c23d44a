"""Tacotron 2 (arXiv:1712.05884): text ids and, under teacher forcing, mels -> mels, stop tokens (gates) and alignments.

B batch, N symbols, M mel bands, r reduction factor, F mel frames, T = ceil(F / r) decoder steps,
E encoder, A attention LSTM, H decoder LSTM, D attention, P prenet.

Inside, mels are standardised by the corpus's mean and deviation (two buffers; 0 and 1 leave NVIDIA's units as they are).
Padding has no effect: no valid output depends on how far a batch is padded or on its other utterances, except for batch-norm
statistics in training, which count valid positions only.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention.kinds import attention_of
from model.config import Network
from model.cpu.dropout import dropout, dropout_mask
from model.data.loading import Batch
from model.layers import BidirectionalLSTM, ConvolutionBlock, linear, own_lstm, run_lstm, valid_mask
from model.recurrence import HALF, Inputs, attend


@dataclass(frozen=True, slots=True)
class Outputs:
    """The network's outputs for a batch. Mels are natural-log magnitudes, zero on padding."""

    mel_before: Tensor  # (B, F, M), before the postnet
    mel_after: Tensor  # (B, F, M)
    gate: Tensor  # (B, T) stop token: logits of "this is the last step"
    alignment: Tensor  # (B, T, N), rows sum to 1
    recorded: Tensor  # (B, F, M), the mels of the recordings
    frame_lengths: Tensor  # (B,) valid frames
    step_lengths: Tensor  # (B,) valid decoder steps
    symbol_lengths: Tensor  # (B,), of the text

    def detach(self) -> "Outputs":
        """Return the same tensors without their graph."""
        return Outputs(*(getattr(self, field.name).detach() for field in fields(self)))


class Prenet(nn.Module):
    """Two layers with dropout that stays on in synthesis: it keeps the decoder from relying too much on its last frame."""

    def __init__(self, bands: int, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([linear(bands, features, bias=False), linear(features, features, bias=False)])
        self.features, self.dropout = features, dropout

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """Turn x (..., M) into (..., P). `masks` (2, ..., P), one for each layer as from `draw`, replace the random dropout."""
        for index, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            x = dropout(x, self.dropout) if masks is None else x * masks[index]
        return x

    def draw(self, steps: int, generator: torch.Generator) -> Tensor:
        """Draw masks (steps, 2, P) of 0 and 1 / (1 - p), in the order of the steps: the next call continues the sequence."""
        return (torch.rand(steps, 2, self.features, generator=generator) >= self.dropout) / (1 - self.dropout)


class Encoder(nn.Module):
    """Embedding, convolutions and a bidirectional LSTM over the symbols of a text."""

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
        """Encode ids (B, N) with lengths (B,) into the memory (B, N, E), zeros on padding."""
        mask = valid_mask(lengths, ids.shape[1])[:, None]
        x = self.embedding(ids).transpose(1, 2) * mask
        for block in self.convolutions:
            x = block(x, mask.to(x.dtype))
        memory: Tensor = self.lstm(x.transpose(1, 2), lengths)
        return memory


class Postnet(nn.Module):
    """Convolutions that compute a correction to the decoder's mels."""

    def __init__(self, network: Network, bands: int) -> None:
        super().__init__()
        widths = [bands, *[network.postnet] * (network.postnet_convolutions - 1), bands]
        last = network.postnet_convolutions - 1
        self.convolutions = nn.ModuleList(
            ConvolutionBlock(
                inputs, outputs, network.postnet_kernel, "tanh" if index < last else "linear", network.postnet_dropout
            )
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )

    def forward(self, mels: Tensor, mask: Tensor) -> Tensor:
        """Return the correction (B, F, M) to standardised mels with zeros on padding; mask (B, F)."""
        x, inside = mels.transpose(1, 2), mask[:, None].to(mels.dtype)
        for block in self.convolutions:
            x = block(x, inside)
        return x.transpose(1, 2)


class Tacotron2(nn.Module):
    """The complete network, for a table of `symbols` symbols and mels of `bands` bands."""

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
        self.mean_frame = 0.0  # the corpus's mean in the network's units: not 0 where these are raw log-mels
        self.mel_mean: Tensor
        self.mel_std: Tensor

    def forward(self, batch: Batch, masks: Tensor | None = None) -> Outputs:
        """Run the network under teacher forcing: the input of step t is the true mel of the step before it.

        masks (2, T, 1 or B, P): the prenet's dropout, as from `Prenet.draw`; None draws it at random.
        """
        r = self.network.reduction
        frames = batch.mels.shape[1]
        steps = -(-frames // r)
        mask = valid_mask(batch.frame_lengths, frames)  # (B, F)
        target = (batch.mels - self.mel_mean) / self.mel_std * mask[:, :, None]
        # The input of a step is the last frame of the step before it, and zeros for the first step.
        last = self._drop_frames(target[:, r - 1 :: r][:, : steps - 1].transpose(0, 1))
        x = self.prenet(torch.cat([last.new_zeros(1, *last.shape[1:]), last]), masks)  # (T, B, P)

        memory = self.encoder(batch.ids, batch.symbol_lengths)  # (B, N, E)
        padding = ~valid_mask(batch.symbol_lengths, batch.ids.shape[1])
        gates = self.attention.gates(x)  # (T, B, 4A)
        kept = self._state_dropout(gates, self.network.attention_dropout)
        inputs = Inputs(gates, memory, self.attention.memory(memory), padding, kept)
        with torch.autocast(memory.device.type, enabled=False):  # merges the location filter's two factors in single precision
            weights = self.attention.weights()
        hidden, context, alignment = attend(inputs, weights, self.network.recurrence)

        decoded = self._decode(torch.cat([hidden, context], 2))  # (T, B, H)
        features = torch.cat([decoded, context], 2).transpose(0, 1)  # (B, T, H + E)
        before = self.projection(features).reshape(len(features), steps * r, self.bands)[:, :frames] * mask[:, :, None]
        after = before + self.postnet(before, mask)
        return Outputs(
            mel_before=self._restore(before, mask),
            mel_after=self._restore(after, mask),
            gate=self.gate(features)[:, :, 0],
            alignment=alignment.transpose(0, 1),
            recorded=batch.mels,
            frame_lengths=batch.frame_lengths,
            step_lengths=(batch.frame_lengths + r - 1) // r,
            symbol_lengths=batch.symbol_lengths,
        )

    def _drop_frames(self, frames: Tensor) -> Tensor:
        """Replace a share of the teacher's frames (T - 1, B, M) by the corpus's mean, in training only (arXiv:1909.01145, 3.2).

        A decoder that can always copy the frame before need not read its text: the less it can rely on that frame, the sooner
        it attends.
        """
        rate = self.network.drop_frame_rate
        if not self.training or rate == 0:
            return frames
        kept = torch.rand(*frames.shape[:2], 1, device=frames.device) >= rate
        return frames.where(kept, self.mean_frame)

    def _restore(self, mels: Tensor, mask: Tensor) -> Tensor:
        """Return standardised mels in their natural-log units."""
        wide = mels.to(torch.promote_types(mels.dtype, torch.float32))  # bf16 resolves a log-mel to 0.06 only
        return (wide * self.mel_std + self.mel_mean) * mask[:, :, None]

    def _decode(self, inputs: Tensor) -> Tensor:
        """Run the decoder LSTM on attention states and contexts: (T, B, A + E) -> (T, B, H)."""
        rnn, share = self.decoder_rnn, self.network.decoder_dropout
        on_state = self.network.decoder_dropout_mode == "state"
        # The library's LSTM has no dropout on its state, and is three times as slow in half precision on a CPU (backward pass).
        if not on_state and (inputs.device.type != "cpu" or inputs.dtype not in HALF):
            return dropout(run_lstm(rnn, inputs), share, self.training)
        if on_state:
            return own_lstm(rnn, inputs, lambda gates: self._state_dropout(gates, share))
        return dropout(own_lstm(rnn, inputs), share, self.training)

    def _state_dropout(self, gates: Tensor, share: float) -> Tensor | None:
        """Draw a dropout mask (T, B, A) for the hidden states of an LSTM with gates (T, B, 4A); None for no dropout."""
        if not self.training or share == 0:
            return None
        steps, batch, features = gates.shape
        return dropout_mask((steps, batch, features // 4), share, gates)
