"""Read and write checkpoints of NVIDIA/tacotron2 and its relatives with the same graph (DeepLearningExamples, torchaudio).

At r = 1 and on raw log-mels their network is ours under other names. No code in a file is ever run.
"""

import pickle
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import checkpoints
from model.config import Network
from model.tacotron2 import Tacotron2

# (our name, NVIDIA's): # is a number, * the name of a parameter or of a statistic. torchaudio omits `linear_layer` and `conv`.
NAMES = (
    ("encoder.embedding.*", "embedding.*"),
    ("encoder.convolutions.#.convolution.*", "encoder.convolutions.#.0.conv.*"),
    ("encoder.convolutions.#.norm.*", "encoder.convolutions.#.1.*"),
    ("encoder.lstm.forwards.*_l0", "encoder.lstm.*_l0"),
    ("encoder.lstm.backwards.*_l0", "encoder.lstm.*_l0_reverse"),
    ("prenet.layers.#.*", "decoder.prenet.layers.#.linear_layer.*"),
    ("attention.rnn.*", "decoder.attention_rnn.*"),
    ("attention.query.*", "decoder.attention_layer.query_layer.linear_layer.*"),
    ("attention.memory.*", "decoder.attention_layer.memory_layer.linear_layer.*"),
    ("attention.energy.*", "decoder.attention_layer.v.linear_layer.*"),
    ("attention.location.*", "decoder.attention_layer.location_layer.location_conv.conv.*"),
    ("attention.location_dense.*", "decoder.attention_layer.location_layer.location_dense.linear_layer.*"),
    ("decoder_rnn.*_l0", "decoder.decoder_rnn.*"),
    ("projection.*", "decoder.linear_projection.linear_layer.*"),
    ("gate.*", "decoder.gate_layer.linear_layer.*"),
    ("postnet.convolutions.#.convolution.*", "postnet.convolutions.#.0.conv.*"),
    ("postnet.convolutions.#.norm.*", "postnet.convolutions.#.1.*"),
)
NAMES_SHOWN = 3  # names in an error
# Numbers of NumPy, which a schedule may have computed, under their names in NumPy 1 and 2. Reading them runs no foreign code.
_SCALAR: Any = np.float64(0).__reduce__()[0]  # has no public name
NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float16DType,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int32DType,
    np.dtypes.Int64DType,
    np.dtypes.BoolDType,
]
# The exceptions of torch's reader on damaged files and on files of other kinds: a fuzzer met each of these.
UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AssertionError,
)


def load(source: Path | Mapping[str, Any]) -> Tacotron2:
    """Build the network of a checkpoint: a file, or its content, with or without a container and `module.` prefixes.

    The sizes follow from the shapes, r is 1, and the mels are raw log-mels. Raises ValueError for anything else.
    """
    where = f"{source}: " if isinstance(source, Path) else ""
    weights, foreign = to_our_names(read_checkpoint(source) if isinstance(source, Path) else source)
    if not weights:
        raise ValueError(f"{where}need the weights of NVIDIA's Tacotron 2, got {_listed(foreign)}: choose another checkpoint")
    try:
        network, symbols, bands = sizes(weights)
        with torch.device("meta"):
            ours = Tacotron2(network, symbols, bands)
        expected = ours.state_dict()
        counters = {name: torch.tensor(0) for name in expected if "num_batches" in name}  # old files lack them
        weights = counters | weights | {"mel_mean": torch.tensor(0.0), "mel_std": torch.tensor(1.0)}
        _check(weights, expected, foreign)
    except ValueError as why:
        raise ValueError(f"{where}need NVIDIA's Tacotron 2, {why}: choose another checkpoint, or --warm-start it") from why
    ours.load_state_dict({name: weights[name].to(value.dtype, copy=True) for name, value in expected.items()}, assign=True)
    return ours


def save(network: Tacotron2, path: Path) -> Path:
    """Write a checkpoint for NVIDIA's code, {"iteration": 0, "state_dict": ...}. A reader sees the old file or the new one.

    Dropout is not stored: NVIDIA's prenet drops half of its features, whatever `network` was trained with. Raises ValueError
    where NVIDIA's code would not compute the same as `network`.
    """
    config, units = network.network, (float(network.mel_mean), float(network.mel_std))
    rules = (
        (config.reduction == 1, f"network.reduction 1, got {config.reduction}"),
        (units == (0, 1), "network.standardise false, got mels in units of mean {:.4g} and deviation {:.4g}".format(*units)),
        (config.embedding == config.encoder, f"equal embedding and encoder, got {config.embedding} and {config.encoder}"),
    )
    broken = [rule for holds, rule in rules if not holds]
    if broken:
        raise ValueError(f"NVIDIA's code needs {'; '.join(broken)}: train a network with such settings")
    weights = {theirs: value.detach().cpu() for name, value in network.state_dict().items() if (theirs := nvidia_name(name))}
    return checkpoints.save(path, {"iteration": 0, "state_dict": weights})


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint onto the CPU. Raises ValueError for a file that is none, OSError for one that cannot be read."""
    try:
        with torch.serialization.safe_globals(NUMBERS):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as why:
        found = re.search(r"GLOBAL ([\w.]+)", str(why))
        what = f"{found[1]}: save its state_dict alone" if found else "something else: choose another"
        raise ValueError(f"{path}: need a checkpoint of tensors and plain values, got {what}") from why
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: need a checkpoint, got a {type(values).__name__}: choose another")
    return values


def to_our_names(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of one of NVIDIA's checkpoints by our names, and everything without such a name by its own."""
    inside = checkpoint.get("state_dict", checkpoint)
    weights, foreign = {}, {}
    table = [(_plain(theirs), ours) for ours, theirs in NAMES]
    for name, value in inside.items() if isinstance(inside, Mapping) else ():
        ours = _translated(_plain(str(name).removeprefix("module.")), table)
        if ours is not None and isinstance(value, Tensor):
            weights[ours] = value
        else:
            foreign[str(name)] = value
    return weights, foreign


def nvidia_name(ours: str) -> str | None:
    """Return NVIDIA's name of one of our tensors; None for our units of the mels, which NVIDIA's code does not have."""
    return _translated(ours, NAMES)


def sizes(weights: Mapping[str, Tensor]) -> tuple[Network, int, int]:
    """Return the network, the number of symbols and the mel bands of weights by our names at r = 1. ValueError for others."""

    def size(name: str, dimension: int) -> int:
        shape = weights[name].shape if name in weights else ()
        if dimension >= len(shape):
            raise ValueError(f"got none with {nvidia_name(name)} of {dimension + 1} dimensions or more")
        return shape[dimension]

    def layers(of: str) -> int:
        return sum(re.fullmatch(rf"{of}\.convolutions\.\d+\.convolution\.weight", name) is not None for name in weights)

    network = Network(
        embedding=size("encoder.embedding.weight", 1),
        encoder=size("attention.memory.weight", 1),
        encoder_convolutions=layers("encoder"),
        encoder_kernel=size("encoder.convolutions.0.convolution.weight", 2),
        prenet=size("prenet.layers.1.weight", 0),
        attention_rnn=size("attention.query.weight", 1),
        decoder_rnn=size("decoder_rnn.weight_hh_l0", 1),
        attention=size("attention.query.weight", 0),
        location_filters=size("attention.location.weight", 0),
        location_kernel=size("attention.location.weight", 2),
        postnet=size("postnet.convolutions.0.convolution.weight", 0),
        postnet_convolutions=layers("postnet"),
        postnet_kernel=size("postnet.convolutions.0.convolution.weight", 2),
        standardise=False,
    )
    return network, size("encoder.embedding.weight", 0), size("postnet.convolutions.0.convolution.weight", 1)


def _check(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], foreign: Iterable[str]) -> None:
    """Raise ValueError, with NVIDIA's names, for tensors that `weights` lack, have in addition, or have in other shapes."""
    missing = [name for name in expected if name not in weights]
    more = [name for name in weights if name not in expected]
    resized = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    shapes = [f"{nvidia_name(name)} of {tuple(weights[name].shape)} for {tuple(expected[name].shape)}" for name in resized]
    wrong = {"without": map(nvidia_name, missing), "with": [*foreign, *map(nvidia_name, more)], "with another size:": shapes}
    faults = [f"{how} {_listed(names)}" for how, found in wrong.items() if (names := list(found))]
    if faults:
        raise ValueError(f"got one {', '.join(faults)}")


def _translated(name: str, table: Iterable[tuple[str, str]]) -> str | None:
    """Translate `name` by the first line of `table` whose left side matches; None if none does."""
    for old, new in table:
        found = re.fullmatch(re.escape(old).replace(r"\#", r"(\d+)").replace(r"\*", r"(\w+)"), name)
        if found:
            return re.sub("[#*]", "{}", new).format(*found.groups())
    return None


def _plain(name: str) -> str:
    """Remove NVIDIA's wrapper modules from `name`, as torchaudio does."""
    return re.sub(r"\.(linear_layer|conv)(?=\.)", "", name)


def _listed(names: Iterable[Any]) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}" if names else "nothing"
