"""Tacotron 2 as NVIDIA published it: plain equations, one step at a time, on a state dict with NVIDIA's names.

N symbols, T decoder steps, M mel bands, E encoder, P prenet, H hidden features, I inputs, C channels, L positions.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


def published(w: Weights, ids: Tensor, mel: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mels before and after the postnet (T, M), gates (T,) and alignments (T, N) under teacher forcing.

    ids (N,), mel (T, M), masks (2, T + 1, 1, P) the prenet's dropout.
    """
    before, gates, alignments = decoder(w, encoder(w, ids), mel, masks)
    x, count = before.T, convolutions(w, "postnet")
    for i in range(count):
        x = convolution(w, f"postnet.convolutions.{i}", x)
        x = x.tanh() if i < count - 1 else x
    return before, before + x.T, gates, alignments


def encoder(w: Weights, ids: Tensor) -> Tensor:
    """Return the memory (N, E) of ids (N,)."""
    x = w["embedding.weight"][ids].T
    for i in range(convolutions(w, "encoder")):
        x = convolution(w, f"encoder.convolutions.{i}", x).relu()
    half = len(w["encoder.lstm.weight_hh_l0"]) // 4
    directions = []
    for suffix, order in (("_l0", range(len(ids))), ("_l0_reverse", range(len(ids) - 1, -1, -1))):
        state, outputs = (torch.zeros(half), torch.zeros(half)), {}
        for n in order:
            state = lstm(w, "encoder.lstm", suffix, x[:, n], state)
            outputs[n] = state[0]
        directions.append(torch.stack([outputs[n] for n in range(len(ids))]))
    return torch.cat(directions, 1)


def decoder(w: Weights, memory: Tensor, mel: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mels (T, M), gates (T,) and alignments (T, N)."""
    linear = {name.removesuffix(".linear_layer.weight"): value for name, value in w.items() if "linear_layer.weight" in name}
    sizes = [w[f"decoder.{name}.weight_hh"].shape[1] for name in ("attention_rnn", "decoder_rnn")]
    attention, decoder = ((torch.zeros(size), torch.zeros(size)) for size in sizes)
    context, alignment, cumulative = torch.zeros(memory.shape[1]), torch.zeros(len(memory)), torch.zeros(len(memory))
    place = "decoder.attention_layer"
    location = w[f"{place}.location_layer.location_conv.conv.weight"]
    frame, frames, gates, alignments = torch.zeros(mel.shape[1]), [], [], []
    for t in range(len(mel)):
        for layer in range(2):
            frame = (linear[f"decoder.prenet.layers.{layer}"] @ frame).relu() * masks[layer, t, 0]
        attention = lstm(w, "decoder.attention_rnn", "", torch.cat([frame, context]), attention)
        features = F.conv1d(torch.stack([alignment, cumulative])[None], location, padding=location.shape[2] // 2)[0].T
        inner = linear[f"{place}.query_layer"] @ attention[0] + memory @ linear[f"{place}.memory_layer"].T
        energy = (inner + features @ linear[f"{place}.location_layer.location_dense"].T).tanh() @ linear[f"{place}.v"][0]
        alignment = energy.softmax(0)
        cumulative = cumulative + alignment
        context = alignment @ memory
        decoder = lstm(w, "decoder.decoder_rnn", "", torch.cat([attention[0], context]), decoder)
        both = torch.cat([decoder[0], context])
        frames.append(linear["decoder.linear_projection"] @ both + w["decoder.linear_projection.linear_layer.bias"])
        gates.append(linear["decoder.gate_layer"] @ both + w["decoder.gate_layer.linear_layer.bias"])
        alignments.append(alignment)
        frame = mel[t]
    return torch.stack(frames), torch.cat(gates), torch.stack(alignments)


def lstm(w: Weights, name: str, suffix: str, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Run one step: x (I,), state of hidden and cell (H,)."""
    hidden, cell = state
    from_input = w[f"{name}.weight_ih{suffix}"] @ x + w[f"{name}.bias_ih{suffix}"]
    enter, forget, new, leave = (from_input + w[f"{name}.weight_hh{suffix}"] @ hidden + w[f"{name}.bias_hh{suffix}"]).chunk(4)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def convolutions(w: Weights, part: str) -> int:
    """Count the convolutions of the encoder or the postnet."""
    return sum(name.startswith(part) and name.endswith("0.conv.weight") for name in w)


def convolution(w: Weights, name: str, x: Tensor) -> Tensor:
    """Apply a convolution and its batch norm in eval mode to x (C, L)."""
    kernel = w[f"{name}.0.conv.weight"]
    x = F.conv1d(x[None], kernel, w[f"{name}.0.conv.bias"], padding=kernel.shape[2] // 2)[0]
    centred = (x - w[f"{name}.1.running_mean"][:, None]) / (w[f"{name}.1.running_var"] + 1e-5).sqrt()[:, None]
    return centred * w[f"{name}.1.weight"][:, None] + w[f"{name}.1.bias"][:, None]
