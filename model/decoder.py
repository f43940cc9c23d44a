"""Run the decoder one step at a time, as synthesis needs it: the input of each step is the last frame of the one before.

Synthesis and the test that the training pass equals the step-wise one share this definition of a step. `Block` runs several
steps at once: on a GPU, where launching the small kernels of a step costs more than running them, as one CUDA graph.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from model.cpu.matmul import packed, product
from model.layers import ifog, valid_mask
from model.recorder import CudaRecorder, NotRecordedError
from model.recurrence.reference import lstm_step
from model.tacotron2 import Tacotron2


@dataclass(frozen=True, slots=True)
class DecoderState:
    """The state that a step passes to the next one."""

    hidden: Tensor  # (B, A) of the attention LSTM
    cell: Tensor  # (B, A)
    context: Tensor  # (B, E)
    alignment: Tensor  # (B, N)
    attention: tuple[Tensor, ...]  # the state of the kind of attention, besides the alignment
    decoder_hidden: Tensor  # (B, H)
    decoder_cell: Tensor  # (B, H)
    frame: Tensor  # (B, M) standardised, the last output frame

    def tensors(self) -> list[Tensor]:
        values = (getattr(self, field.name) for field in fields(self))
        return [tensor for value in values for tensor in (value if isinstance(value, tuple) else (value,))]


class Decoder:
    """The decoder for a batch of texts, ids (B, N) and lengths (B,). Weights are merged once, for all steps.

    `window` limits the attention of each utterance to this many symbols on either side of its last step's maximum.
    """

    def __init__(self, network: Tacotron2, ids: Tensor, lengths: Tensor, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise ValueError(f"need a window of at least 1 symbol, so that the attention can move, got {window}: None for none")
        self.network, self.window = network, window
        self.memory = network.encoder(ids, lengths)
        self.keys = network.attention.memory(self.memory)
        self.padding = ~valid_mask(lengths, ids.shape[1])
        self.positions = torch.arange(ids.shape[1], device=ids.device)
        self.weights = network.attention.weights()
        self.attend, self.decode = (_LSTMStep(rnn, len(ids)) for rnn in (network.attention.rnn, network.decoder_rnn))

    def start(self) -> DecoderState:
        """Return the state before the first step: zeros."""
        batch, symbols, features = self.memory.shape
        sizes = self.network.network

        def zeros(size: int) -> Tensor:
            made: Tensor = self.memory.new_zeros(batch, size)
            return made

        return DecoderState(
            hidden=zeros(sizes.attention_rnn),
            cell=zeros(sizes.attention_rnn),
            context=zeros(features),
            alignment=zeros(symbols),
            attention=self.weights.initial_state(self.memory),
            decoder_hidden=zeros(sizes.decoder_rnn),
            decoder_cell=zeros(sizes.decoder_rnn),
            frame=zeros(self.network.bands),
        )

    def step(self, state: DecoderState, masks: Tensor | None = None) -> tuple[DecoderState, Tensor, Tensor]:
        """Return the next state, standardised frames (B, r, M), gate logits (B,). `masks` (2, P) are the prenet's dropout."""
        net = self.network
        hidden, cell = self.attend([net.prenet(state.frame, masks), state.context, state.hidden], state.cell)
        masked = self._masked(state.alignment)
        alignment, context, attention = self.weights.step(
            hidden, state.alignment, state.attention, self.memory, self.keys, masked
        )
        decoder_hidden, decoder_cell = self.decode([hidden, context, state.decoder_hidden], state.decoder_cell)
        features = torch.cat([decoder_hidden, context], 1)
        frames = net.projection(features).view(-1, net.network.reduction, net.bands)
        new = DecoderState(
            hidden=hidden,
            cell=cell,
            context=context,
            alignment=alignment,
            attention=attention,
            decoder_hidden=decoder_hidden,
            decoder_cell=decoder_cell,
            frame=frames[:, -1],
        )
        return new, frames, net.gate(features)[:, 0]

    def _masked(self, alignment: Tensor) -> Tensor:
        """Return (B, N) bool, True on padding and on symbols outside the window around the maximum of `alignment` (B, N)."""
        if self.window is None:
            return self.padding
        centre = alignment.argmax(1, keepdim=True)  # before the first step, where it is zero: the first symbol
        return self.padding | ((self.positions - centre).abs() > self.window)


class _LSTMStep:
    """One step of an LSTM as one matrix product, for batches of `rows`."""

    def __init__(self, rnn: nn.LSTM | nn.LSTMCell, rows: int) -> None:
        weight_ih, weight_hh, bias_ih, bias_hh = rnn.parameters()
        self.weight, self.bias = packed(ifog(torch.cat([weight_ih, weight_hh], 1)), rows), ifog(bias_ih + bias_hh)

    def __call__(self, parts: list[Tensor], cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden state and cell. The last of the inputs (B, .) is the hidden state (B, H); cell (B, H)."""
        return lstm_step(product(torch.cat(parts, 1), self.weight) + self.bias, cell)


class Block:
    """`steps` steps of a decoder at once; the next call continues after them.

    All state between calls lives in tensors that keep their address, and nothing waits for the device, so that a GPU can record
    the work once and replay it.
    """

    def __init__(self, decoder: Decoder, steps: int) -> None:
        self.decoder = decoder
        self.state = decoder.start()
        self.masks = decoder.memory.new_ones(steps, 2, decoder.network.network.prenet)
        self.outputs: list[Tensor] = []
        self.advance: Callable[[], object] = self._recorded() if decoder.memory.is_cuda else self._advance

    def __call__(self, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised frames (B, k, r, M), gate logits (B, k), alignments (B, k, N) for prenet masks (k, 2, P)."""
        self.masks.copy_(masks)
        self.advance()
        frames, gates, alignments = (output.clone() for output in self.outputs)
        return frames, gates, alignments

    def _advance(self) -> None:
        state, steps = self.state, []
        for masks in self.masks:
            state, frames, gate = self.decoder.step(state, masks)
            steps.append((frames, gate, state.alignment))
        self.outputs = [torch.stack(values, 1) for values in zip(*steps, strict=True)]
        for kept, new in zip(self.state.tensors(), state.tensors(), strict=True):
            kept.copy_(new)

    def _recorded(self) -> Callable[[], object]:
        """Record `_advance` as a CUDA graph. An eager run before it lets the libraries initialise themselves."""
        recorder = CudaRecorder(self.decoder.memory.device)
        with torch.cuda.device(recorder.device):
            with recorder.apart():
                self._advance()
            try:
                advance = recorder.record(self._advance)
            except NotRecordedError:  # slower, and the same
                advance = self._advance
        for kept in self.state.tensors():
            kept.zero_()
        return advance
