"""The decoder one step at a time, as synthesis runs it: each step is fed with the last frame of the one before.

One definition of a step for synthesis and for the law that hoisted equals step-wise. `Block` takes several steps in one go; on
a GPU, where launching the small kernels of a step costs more than running them, they are one CUDA graph.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from model.cpu.matmul import packed, product
from model.layers import ifog, valid_mask
from model.recurrence.reference import remember
from model.tacotron2 import Tacotron2


@dataclass(frozen=True, slots=True)
class Carry:
    """What a step hands to the next one. Before the first, zeros."""

    hidden: Tensor  # (B, A) of the attention LSTM
    cell: Tensor  # (B, A)
    context: Tensor  # (B, E)
    alignment: Tensor  # (B, N)
    attention: tuple[Tensor, ...]  # what the kind of attention carries besides
    decoder_hidden: Tensor  # (B, H)
    decoder_cell: Tensor  # (B, H)
    frame: Tensor  # (B, M) standardised, the last one said

    def tensors(self) -> list[Tensor]:
        values = (getattr(self, field.name) for field in fields(self))
        return [tensor for value in values for tensor in (value if isinstance(value, tuple) else (value,))]


class Decoder:
    """The network on a batch of texts, ids (B, N) and lengths (B,); its weights are merged once, for all steps.

    `window` lets the attention see no more than so many symbols on either side of its last step's maximum, each utterance
    its own.
    """

    def __init__(self, network: Tacotron2, ids: Tensor, lengths: Tensor, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise ValueError(f"need a window of at least 1 symbol, or the attention cannot move, got {window}: None for none")
        self.network, self.window = network, window
        self.memory = network.encoder(ids, lengths)
        self.keys = network.attention.memory(self.memory)
        self.padding = ~valid_mask(lengths, ids.shape[1])
        self.positions = torch.arange(ids.shape[1], device=ids.device)
        self.weights = network.attention.weights()
        self.attend, self.decode = (_Cell(rnn, len(ids)) for rnn in (network.attention.rnn, network.decoder_rnn))

    def start(self) -> Carry:
        sizes, (batch, symbols, E) = self.network.network, self.memory.shape
        A, H = sizes.attention_rnn, sizes.decoder_rnn
        zeros = self.memory.new_zeros
        return Carry(
            hidden=zeros(batch, A),
            cell=zeros(batch, A),
            context=zeros(batch, E),
            alignment=zeros(batch, symbols),
            attention=self.weights.start(self.memory),
            decoder_hidden=zeros(batch, H),
            decoder_cell=zeros(batch, H),
            frame=zeros(batch, self.network.bands),
        )

    def step(self, carry: Carry, masks: Tensor | None = None) -> tuple[Carry, Tensor, Tensor]:
        """What to carry on, r standardised frames (B, r, M), gate logits (B,). `masks` (2, P) are the prenet's dropout."""
        net = self.network
        hidden, cell = self.attend([net.prenet(carry.frame, masks), carry.context, carry.hidden], carry.cell)
        unseen = self._unseen(carry.alignment)
        alignment, context, attention = self.weights.look(
            hidden, carry.alignment, carry.attention, self.memory, self.keys, unseen
        )
        decoder_hidden, decoder_cell = self.decode([hidden, context, carry.decoder_hidden], carry.decoder_cell)
        seen = torch.cat([decoder_hidden, context], 1)
        frames = net.projection(seen).view(len(seen), net.network.reduction, net.bands)
        new = Carry(hidden, cell, context, alignment, attention, decoder_hidden, decoder_cell, frames[:, -1])
        return new, frames, net.gate(seen)[:, 0]

    def _unseen(self, alignment: Tensor) -> Tensor:
        """(B, N) bool, True on symbols that the attention must not see after `alignment` (B, N): padding, and out of window."""
        if self.window is None:
            return self.padding
        centre = alignment.argmax(1, keepdim=True)  # of zeros: the first symbol
        return self.padding | ((self.positions - centre).abs() > self.window)


class _Cell:
    """One step of an LSTM as one product, for batches of `rows`."""

    def __init__(self, rnn: nn.LSTM | nn.LSTMCell, rows: int) -> None:
        weight_ih, weight_hh, bias_ih, bias_hh = rnn.parameters()
        self.weight, self.bias = packed(ifog(torch.cat([weight_ih, weight_hh], 1)), rows), ifog(bias_ih + bias_hh)

    def __call__(self, parts: list[Tensor], cell: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (B, .) with the hidden state (B, H) as the last of them, cell (B, H) -> hidden, cell."""
        return remember(product(torch.cat(parts, 1), self.weight) + self.bias, cell)


class Block:
    """`steps` steps of a decoder in one go, and at the next call the steps after them.

    All that goes from call to call stands in tensors that keep their place, and nothing between asks the host: so a GPU can
    record the work once and replay it.
    """

    def __init__(self, decoder: Decoder, steps: int) -> None:
        self.decoder = decoder
        self.carry = decoder.start()
        self.masks = decoder.memory.new_ones(steps, 2, decoder.network.network.prenet)
        self.said: list[Tensor] = []
        self.advance: Callable[[], None] = self._recorded() if decoder.memory.is_cuda else self._advance

    def __call__(self, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The prenet's masks (k, 2, P) -> standardised frames (B, k, r, M), gate logits (B, k), alignments (B, k, N)."""
        self.masks.copy_(masks)
        self.advance()
        frames, gates, alignments = (said.clone() for said in self.said)
        return frames, gates, alignments

    def _advance(self) -> None:
        carry, said = self.carry, []
        for masks in self.masks:
            carry, frames, gate = self.decoder.step(carry, masks)
            said.append((frames, gate, carry.alignment))
        self.said = [torch.stack(values, 1) for values in zip(*said, strict=True)]
        for kept, new in zip(self.carry.tensors(), carry.tensors(), strict=True):
            kept.copy_(new)

    def _recorded(self) -> Callable[[], None]:
        """`_advance` as a CUDA graph. The first run, which is no part of it, lets the libraries set themselves up."""
        with torch.cuda.device(self.decoder.memory.device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._advance()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance()
        for kept in self.carry.tensors():
            kept.zero_()
        return graph.replay
