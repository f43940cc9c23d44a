"""Write a voice as three ONNX graphs and a description of them: a program of `export` (objective/export.py).

The graphs are traced from the encoder, the decoder's step and the postnet that synthesis uses. The loop around the step belongs
to the program that runs them, and so do the dropout masks: with the same masks a text sounds the same everywhere.
"""

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.cpu import matmul
from model.decoder import Decoder, DecoderState
from model.errors import BadInput
from model.files import atomic_write
from model.layers import valid_mask
from model.synthesis import EXTRA_FRAMES, FRAMES_PER_SYMBOL
from model.tacotron2 import Tacotron2
from model.voice import Voice
from objective.speech.find import load

FORMAT = "tacotune onnx 1"
OPSET = 17
ENCODER, STEP, POSTNET, DESCRIPTION = "encoder.onnx", "decoder_step.onnx", "postnet.onnx", "voice.json"
SYMBOLS = ("ids", "memory", "keys", "padding", "alignment", "attention_0")  # tensors whose second axis is the text
FRAMES = ("mel_before", "mel_after")  # tensors whose second axis is the speech
LOOP = (
    f"1. {ENCODER}: give the ids of one or several texts, padded with 0 at the end, and their lengths.",
    f"2. {STEP}: begin with zeros for every tensor of `state`. Give it memory, keys and padding of the encoder, the state, and "
    "masks: 2 rows of random values, 0 with the probability prenet.dropout, else 1 / (1 - prenet.dropout), drawn anew for each "
    "step. Without dropout (all ones) a voice speaks worse. The outputs next_NAME are the state of the next step.",
    "3. Collect `frames`, reduction of them a step. A text ends after the first step whose gate exceeds stop.threshold; at the "
    "latest after (stop.frames_per_symbol * symbols + stop.extra_frames) / reduction steps, rounded down.",
    f"4. {POSTNET}: give all frames as mel_before (batch, frames, bands) with their numbers as frame_lengths. mel_after is the "
    "natural logarithm of mel magnitudes, as `audio` defines them, and zero on padding.",
)


def run(parsed: argparse.Namespace) -> int:
    """Write the graphs, and print where. Raises BadInput without the package onnx, and OSError."""
    if find_spec("onnx") is None:
        raise BadInput("--onnx needs the package onnx, which is not installed: pip install onnx")
    voice, note = load(parsed)
    export(voice, parsed.onnx)
    print(f"wrote {parsed.onnx}: {note}, as {ENCODER}, {STEP} and {POSTNET}; {DESCRIPTION} says how to run them")
    return 0


def export(voice: Voice, folder: Path) -> None:
    """Write the graphs of a voice into `folder`, and last their description."""
    folder.mkdir(parents=True, exist_ok=True)
    network = deepcopy(voice.network).cpu().requires_grad_(False).eval()
    ids, lengths = torch.ones(2, 7, dtype=torch.int64), torch.tensor([7, 4])
    with matmul.plain(), torch.no_grad():
        decoder = Decoder(network, ids, lengths)
        state = decoder.start()
        named = dict(zip(_names(state), state.tensors(), strict=True))
        texts = {"memory": decoder.memory, "keys": decoder.keys, "padding": decoder.padding}
        masks = {"masks": torch.ones(2, network.network.prenet)}
        frames = {"mel_before": torch.zeros(2, 11, network.bands), "frame_lengths": torch.tensor([11, 6])}
        next_state = [f"next_{name}" for name in named]
        graphs = {
            ENCODER: _write(folder / ENCODER, _Encoder(network), {"ids": ids, "lengths": lengths}, list(texts)),
            STEP: _write(folder / STEP, _Step(decoder), texts | masks | named, ["frames", "gate", *next_state]),
            POSTNET: _write(folder / POSTNET, _Postnet(network), frames, ["mel_after"]),
        }
    description = _description(voice) | {"state": list(named), "graphs": graphs, "loop": LOOP}
    with atomic_write(folder / DESCRIPTION) as part:
        part.write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")


class _Encoder(nn.Module):
    def __init__(self, network: Tacotron2) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decoder = Decoder(self.network, ids, lengths)
        return decoder.memory, decoder.keys, decoder.padding


class _Step(nn.Module):
    """The step of a decoder whose weights are merged, for any texts."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.network, self.decoder = decoder.network, decoder

    def forward(self, memory: Tensor, keys: Tensor, padding: Tensor, masks: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        decoder = copy(self.decoder)
        decoder.memory, decoder.keys, decoder.padding = memory, keys, padding
        new, frames, gate = decoder.step(_state(state), masks)
        return frames, gate.sigmoid(), *new.tensors()


class _Postnet(nn.Module):
    def __init__(self, network: Tacotron2) -> None:
        super().__init__()
        self.network = network

    def forward(self, before: Tensor, frame_lengths: Tensor) -> Tensor:
        network, valid = self.network, valid_mask(frame_lengths, before.shape[1])
        before = before * valid[:, :, None]
        after: Tensor = (before + network.postnet(before, valid)) * network.mel_std + network.mel_mean
        return after * valid[:, :, None]


def _names(state: DecoderState) -> list[str]:
    """Return a name for each of `state.tensors()`; those of the attention are numbered."""
    names = []
    for field in fields(state):
        value = getattr(state, field.name)
        names += [f"{field.name}_{index}" for index in range(len(value))] if isinstance(value, tuple) else [field.name]
    return names


def _state(tensors: Sequence[Tensor]) -> DecoderState:
    """Return the state whose tensors these are."""
    names = [field.name for field in fields(DecoderState)]
    place, more = names.index("attention"), len(tensors) - len(names) + 1
    values: list[Any] = [*tensors[:place], tuple(tensors[place : place + more]), *tensors[place + more :]]
    return DecoderState(**dict(zip(names, values, strict=True)))


def _write(path: Path, module: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str]) -> dict[str, Any]:
    """Write a module as a graph with axes of any length; return type and shape of its inputs and outputs by name."""
    results = module.eval()(*inputs.values())
    tensors = {**inputs, **dict(zip(outputs, (results,) if isinstance(results, Tensor) else results, strict=True))}
    axes = {name: _axes(name) for name in tensors}
    with atomic_write(path) as part, warnings.catch_warnings():
        # PyTorch advises its newer exporter, which unrolls an LSTM to the length of one text, in minutes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(part),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    shapes = {
        name: {
            "type": str(tensor.dtype).removeprefix("torch."),
            "shape": [axes[name].get(axis, size) for axis, size in enumerate(tensor.shape)],
        }
        for name, tensor in tensors.items()
    }
    return {"inputs": {name: shapes[name] for name in inputs}, "outputs": {name: shapes[name] for name in outputs}}


def _axes(name: str) -> dict[int, str]:
    """Return the axes of a tensor that have any length."""
    name = name.removeprefix("next_")
    second = "symbols" if name in SYMBOLS else "frames" if name in FRAMES else None
    return {} if name == "masks" else {0: "batch"} | ({} if second is None else {1: second})


def _description(voice: Voice) -> dict[str, Any]:
    """Return what a program must know of a voice to run its graphs, as JSON values."""
    network = voice.network.network
    known = ("version", "study", "trial", "licence", "source")
    return {
        "format": FORMAT,
        **{name: voice.about[name] for name in known if voice.about.get(name) is not None},
        "language": voice.language.code,
        "input": voice.language.input,  # phonemes: espeak-ng's, with the punctuation of the text
        "stress": voice.language.stress,
        "symbols": list(voice.language.symbols),  # the id of a symbol is its place
        "audio": asdict(voice.config.audio),
        "reduction": network.reduction,
        "prenet": {"features": network.prenet, "dropout": network.prenet_dropout},
        "stop": {"threshold": 0.5, "frames_per_symbol": FRAMES_PER_SYMBOL, "extra_frames": EXTRA_FRAMES},
    }
