"""Read HiFi-GAN generators in the layout of its authors' code: a checkpoint, and the config.json that it was trained with."""

import json
import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config import Audio
from model.nvidia import read_checkpoint
from model.vocoders.hifigan import Generator, Sizes

AUDIO = (  # (config.json's name, ours)
    ("sampling_rate", "rate_hz"),
    ("hop_size", "hop_samples"),
    ("n_fft", "fft_samples"),
    ("win_size", "window_samples"),
    ("num_mels", "mel_bands"),
    ("fmin", "fmin_hz"),
    ("fmax", "fmax_hz"),
)
FLOOR = 1e-5  # HiFi-GAN clamps mels here before the logarithm; no config.json says so
SHOWN = 3  # names in an error


def load_generator(path: Path, audio: Audio) -> Generator:
    """Build the generator of a checkpoint on the CPU, without weight norm, by the config.json next to it.

    The checkpoint is a state dict, or {"generator": a state dict}; it can hold tensors and plain values, no code. Raises
    ValueError for a checkpoint or config.json of another kind, and for a generator of other mels than `audio`'s.
    """
    config = read_config(path)
    if config is None:
        raise ValueError(f"need a config.json next to {path.name}, got none: copy the one that it was trained with")
    sizes = Sizes.of(config)
    if missing := [name for name, _ in AUDIO if name not in config]:
        raise ValueError(f"need a config.json with the analysis of its mels, got one without {', '.join(missing)}")
    require_mels_of(audio, {"floor": FLOOR, **config})
    if prod(sizes.upsample_rates) != audio.hop_samples:
        raise ValueError(f"need upsample_rates whose product is hop_size {audio.hop_samples}, got {sizes.upsample_rates}")
    checkpoint = read_checkpoint(path)
    inside = checkpoint.get("generator", checkpoint)
    weights = without_weight_norm(inside if isinstance(inside, Mapping) else {})
    with torch.device("meta"):
        generator = Generator(sizes)
    _check(weights, generator.state_dict())
    generator.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()}, assign=True)
    return generator.eval().requires_grad_(False)


def read_config(path: Path) -> dict[str, Any] | None:
    """Read the config.json next to a file; None where there is none. Raises ValueError for one that holds no settings."""
    try:
        config = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as why:
        raise ValueError(f"need a config.json in JSON, got something else ({why}): copy it again") from why
    if not isinstance(config, dict):
        raise ValueError(f"need a config.json with settings, got a {type(config).__name__}: copy it again")
    return config


def require_mels_of(audio: Audio, config: Mapping[str, Any]) -> None:
    """Raise ValueError with every setting in the content of a config.json that differs from the voice's.

    A null `fmin` is 0 and a null `fmax` is half the rate. `fmax_for_loss` belongs to HiFi-GAN's training, not to its input.
    """
    nulls = {"fmin": 0.0, "fmax": audio.rate_hz / 2}
    wrong = []
    for name, ours in (*AUDIO, ("floor", "floor")):
        value, wanted = config.get(name), getattr(audio, ours)
        value = nulls.get(name) if value is None else value
        if name in config and value != wanted:
            wrong.append(f"{name} is {value!r}, {ours} of the voice is {wanted!r}")
    if wrong:
        raise ValueError(f"need a vocoder for the mels of this voice, got one for others: {'; '.join(wrong)}. Choose another")


def without_weight_norm(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights with weight norm multiplied out: w = g v / |v|, the norm of each slice of v (arXiv:1602.07868, eq. 2).

    Both of PyTorch's namings are known, weight_g with weight_v and that of its parametrizations. All else stays as it is.
    """
    plain = {_old_name(str(name)): value for name, value in weights.items()}
    for name in [name for name in plain if name.endswith(".weight_v")]:
        layer = name.removesuffix("_v")
        g, v = plain.get(f"{layer}_g"), plain[name]
        if isinstance(g, Tensor) and isinstance(v, Tensor) and g.shape == (len(v), *[1] * (v.dim() - 1)):
            plain[layer] = torch._weight_norm(plain.pop(name), plain.pop(f"{layer}_g"), 0)
    return plain


def _old_name(name: str) -> str:
    """Translate a name of PyTorch's parametrizations into the one that weight norm had before them."""
    return re.sub(r"parametrizations\.weight\.original([01])$", lambda found: f"weight_{'gv'[int(found[1])]}", name)


def _check(weights: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError for tensors that are missing, foreign, of another shape or not finite."""
    shared = [name for name in expected if isinstance(weights.get(name), Tensor)]
    wrong = {
        "without": [name for name in expected if name not in shared],
        "with": [name for name in weights if name not in shared],
        "with another size:": [
            f"{name} of {tuple(weights[name].shape)} for {tuple(expected[name].shape)}"
            for name in shared
            if weights[name].shape != expected[name].shape
        ],
        "with numbers that are not finite:": [name for name in shared if not weights[name].isfinite().all()],
    }
    faults = [f"{how} {_listed(names)}" for how, names in wrong.items() if names]
    if faults:
        raise ValueError(f"need the generator that config.json describes, got one {', '.join(faults)}: choose another")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
