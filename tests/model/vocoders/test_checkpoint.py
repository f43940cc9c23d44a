"""A published layout of a HiFi-GAN generator is read whatever its weight norm, or refused with what does not fit."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.config import Audio
from model.vocoders.checkpoint import load_generator, require_mels_of
from model.vocoders.hifigan import Generator
from tests.model.vocoders.generators import AUDIO, drawn, saved, settings

CONFIG = settings()
MEL = torch.randn(1, AUDIO.mel_bands, 9, generator=torch.Generator().manual_seed(3))


def convolutions(generator: Generator) -> list[nn.Module]:
    return [module for module in generator.modules() if isinstance(module, nn.Conv1d | nn.ConvTranspose1d)]


@torch.no_grad()
def normed(apply: Callable[[nn.Module], nn.Module]) -> tuple[dict[str, Any], Tensor]:
    """Return a generator with weight norm of arbitrary gains: its state dict, and what it says."""
    generator = drawn(CONFIG)
    for module in convolutions(generator):
        apply(module)
    for name, value in generator.named_parameters():
        if name.endswith(("_g", "original0")):
            value.mul_(torch.rand_like(value) + 0.5)
    return generator.state_dict(), generator(MEL)


def old_norm(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


@pytest.mark.parametrize("apply", [old_norm, nn.utils.parametrizations.weight_norm], ids=["weight_g", "parametrizations"])
def test_weight_norm_is_multiplied_out(apply: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    weights, wave = normed(apply)
    assert not any(name.endswith(".weight") for name in weights)
    generator = load_generator(saved(tmp_path, CONFIG, {"generator": weights}), AUDIO)
    assert {name.rpartition(".")[2] for name, _ in generator.named_parameters()} == {"weight", "bias"}
    assert torch.equal(generator(MEL), wave)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_without_norm_are_read_from_any_container(wrapped: bool, zipped: bool, tmp_path: Path) -> None:
    """Published files are older than PyTorch's zip archives."""
    generator = drawn(CONFIG)
    weights = generator.state_dict()
    path = saved(tmp_path, CONFIG, None)
    torch.save({"generator": weights} if wrapped else weights, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_generator(path, AUDIO)(MEL), generator(MEL))


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    weights = {name: value.half() for name, value in drawn(CONFIG).state_dict().items()}
    assert load_generator(saved(tmp_path, CONFIG, weights), AUDIO)(MEL).dtype == torch.float32


def without(name: str) -> dict[str, Tensor]:
    return {other: value for other, value in drawn(CONFIG).state_dict().items() if other != name}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (without("conv_pre.bias"), "without conv_pre.bias"),
        (without("") | {"mean": torch.zeros(6)}, "with mean"),
        (
            without("") | {"ups.0.weight": torch.zeros(12, 6, 15)},
            r"another size: ups.0.weight of \(12, 6, 15\) for \(12, 6, 16\)",
        ),
        (without("") | {"conv_post.bias": torch.tensor([float("nan")])}, "not finite: conv_post.bias"),
        (without("conv_pre.weight") | {"conv_pre.weight_v": torch.ones(12, 6, 7)}, "with conv_pre.weight_v"),
        ({"mpd": {}, "msd": {}, "steps": 7}, "without conv_pre.weight.* and .* more, with mpd, msd, steps"),
        ({"generator": 3}, "without conv_pre.weight"),
        ([1, 2], "need a checkpoint, got a list"),
    ],
    ids=["missing", "foreign", "size", "nan", "half a norm", "discriminator", "number", "list"],
)
def test_another_checkpoint_is_refused(content: object, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=fault):
        load_generator(saved(tmp_path, CONFIG, content), AUDIO)


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("sampling_rate", 16_000, 4_000),
        ("hop_size", 8, 16),
        ("n_fft", 128, 64),
        ("win_size", 32, 64),
        ("num_mels", 80, 6),
        ("fmin", 20, 0.0),
        ("fmax", 1_600, 1_500),
    ],
)
def test_a_generator_of_other_mels_is_refused_with_both_values(name: str, theirs: int, ours: float, tmp_path: Path) -> None:
    path = saved(tmp_path, settings(**{name: theirs}), drawn(CONFIG).state_dict())
    with pytest.raises(ValueError, match=rf"{name} is {theirs}, \w+ of the voice is {ours}\. "):
        load_generator(path, AUDIO)


def test_all_differences_are_named_at_once(tmp_path: Path) -> None:
    path = saved(tmp_path, settings(sampling_rate=16_000, fmin=55, hop_size="16"), drawn(CONFIG).state_dict())
    with pytest.raises(ValueError, match=r"sampling_rate is 16000, .*; hop_size is '16', .*; fmin is 55, "):
        load_generator(path, AUDIO)


def test_a_null_limit_is_the_end_of_the_spectrum() -> None:
    require_mels_of(Audio(fmax_hz=11_025), {"fmin": None, "fmax": None, "fmax_for_loss": 3})
    with pytest.raises(ValueError, match=r"fmax is 11025\.0, fmax_hz of the voice is 8000"):
        require_mels_of(Audio(), {"fmax": None})


def test_another_floor_of_the_mels_is_refused(tmp_path: Path) -> None:
    audio = Audio(AUDIO.rate_hz, AUDIO.fft_samples, AUDIO.hop_samples, AUDIO.window_samples, 6, 0, AUDIO.fmax_hz, floor=1e-3)
    with pytest.raises(ValueError, match=r"floor is 1e-05, floor of the voice is 0\.001"):
        load_generator(saved(tmp_path, CONFIG, drawn(CONFIG).state_dict()), audio)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "need a config.json next to g_00000001, got none"),
        ("{", "need a config.json in JSON"),
        ("[]", "got a list"),
        (json.dumps({"sampling_rate": 4_000}), "without num_mels, resblock"),
        (json.dumps({name: value for name, value in CONFIG.items() if name != "fmax"}), "without fmax"),
        (json.dumps(CONFIG | {"upsample_rates": [8, 4]}), "product is hop_size 16, got .8, 4."),
    ],
    ids=["none", "damaged", "list", "sizes", "analysis", "product"],
)
def test_a_config_that_describes_no_such_generator_is_refused(text: str | None, fault: str, tmp_path: Path) -> None:
    path = saved(tmp_path, CONFIG, drawn(CONFIG).state_dict())
    path.with_name("config.json").unlink()
    if text is not None:
        path.with_name("config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        load_generator(path, AUDIO)


class Code:
    """Something that runs code where pickles are trusted."""

    def __reduce__(self) -> tuple[Callable[[], int], tuple[()]]:
        return breakpoint, ()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a checkpoint of tensors and plain values"):
        load_generator(saved(tmp_path, CONFIG, {"generator": Code()}), AUDIO)
