"""The generator has the published sizes, follows the paper's equations, and equals transformers' bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch

from model.vocoders.hifigan import Generator, Sizes
from tests.model.vocoders.generators import PUBLISHED, drawn, settings

SINGLE = {"resblock": "2", "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]]}


@pytest.mark.parametrize(("version", "millions"), [("V1", 13.92), ("V2", 0.92), ("V3", 1.46)])
def test_the_number_of_parameters_is_the_papers(version: str, millions: float) -> None:
    """Table 1 of arXiv:2010.05646; with weight norm there are a few more."""
    with torch.device("meta"):
        generator = Generator(Sizes.of(PUBLISHED[version]))
    assert sum(parameter.numel() for parameter in generator.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int = 1) -> np.ndarray:
    """Convolve (C, S) to the same length: y[o, t] = b[o] + sum over i, k of w[o, i, k] x[i, t + (k - middle) dilation]."""
    size = weight.shape[2]
    padded = np.pad(x, ((0, 0), ((size // 2) * dilation,) * 2))
    shifted = [padded[:, k * dilation : k * dilation + x.shape[1]] for k in range(size)]
    return bias[:, None] + sum(weight[:, :, k] @ shifted[k] for k in range(size))


def upsampled(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, rate: int) -> np.ndarray:
    """Add up kernels (I, O, K) placed at every `rate` samples, and cut (K - rate) / 2 samples off both ends."""
    size = weight.shape[2]
    y = np.zeros((weight.shape[1], (x.shape[1] - 1) * rate + size))
    for t in range(x.shape[1]):
        y[:, t * rate : t * rate + size] += np.einsum("i,iok->ok", x[:, t], weight)
    cut = (size - rate) // 2
    return bias[:, None] + y[:, cut : y.shape[1] - cut]


def leaky(x: np.ndarray, slope: float = 0.1) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def published(weights: dict[str, np.ndarray], config: dict[str, Any], mel: np.ndarray) -> np.ndarray:
    """Compute the wave (S,) of a mel (M, F) by section 2.2 of the paper, in double precision."""

    def layer(name: str, x: np.ndarray, dilation: int = 1) -> np.ndarray:
        return convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"], dilation)

    x, number = layer("conv_pre", mel), 0
    for step, rate in enumerate(config["upsample_rates"]):
        x = upsampled(leaky(x), weights[f"ups.{step}.weight"], weights[f"ups.{step}.bias"], rate)
        outputs = []
        for dilations in config["resblock_dilation_sizes"]:
            y = x
            for place, dilation in enumerate(dilations):
                if config["resblock"] == "2":
                    y = y + layer(f"resblocks.{number}.convs.{place}", leaky(y), dilation)
                else:
                    inner = layer(f"resblocks.{number}.convs1.{place}", leaky(y), dilation)
                    y = y + layer(f"resblocks.{number}.convs2.{place}", leaky(inner))
            outputs.append(y)
            number += 1
        x = np.mean(outputs, axis=0)
    return np.tanh(layer("conv_post", leaky(x, 0.01)))[0]


@pytest.mark.parametrize("changes", [{}, SINGLE], ids=["resblock 1", "resblock 2"])
def test_the_wave_follows_the_papers_equations(changes: dict[str, Any]) -> None:
    config = settings(**changes)
    generator = drawn(config)
    mel = np.random.default_rng(1).uniform(-2, 1, (config["num_mels"], 21))
    weights = {name: value.double().numpy() for name, value in generator.state_dict().items()}
    wave = generator(torch.from_numpy(mel)[None].float())
    assert wave.shape == (1, 1, 21 * config["hop_size"])
    expected = published(weights, config, mel)
    assert 0.2 < np.abs(expected).mean() < 0.95  # neither silent nor saturated
    np.testing.assert_allclose(wave[0, 0].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_the_wave_equals_that_of_transformers(version: str) -> None:
    """Its SpeechT5HifiGan is the same network; it knows no resblock 2."""
    transformers = pytest.importorskip("transformers")
    config = PUBLISHED[version] | {"upsample_initial_channel": 64}
    names = ("upsample_initial_channel", "upsample_rates", "upsample_kernel_sizes")
    names += ("resblock_kernel_sizes", "resblock_dilation_sizes")
    given = transformers.SpeechT5HifiGanConfig(
        model_in_dim=config["num_mels"], normalize_before=False, **{name: config[name] for name in names}
    )
    theirs, ours = transformers.SpeechT5HifiGan(given).eval(), drawn(config)
    weights = {name.replace("ups.", "upsampler."): value for name, value in ours.state_dict().items()}
    found = theirs.load_state_dict(weights, strict=False)
    assert found.missing_keys == ["mean", "scale"]
    assert not found.unexpected_keys
    mel = torch.randn(2, config["num_mels"], 30)
    with torch.no_grad():
        expected = theirs(mel.transpose(1, 2))
    assert expected.std() > 0.01
    assert torch.equal(ours(mel)[:, 0], expected)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"resblock": "3"}, "resblock 1 or 2"),
        ({"upsample_rates": [16]}, "as many upsample_kernel_sizes"),
        ({"upsample_rates": []}, "as many upsample_kernel_sizes"),
        ({"upsample_rates": 16}, "sizes of HiFi-GAN"),
        ({"upsample_rates": ["8", 2]}, "sizes of HiFi-GAN"),
        ({"upsample_rates": [16.0, 1]}, "whole numbers"),
        ({"upsample_kernel_sizes": [4, 4]}, "not below the upsample_rates"),
        ({"resblock_kernel_sizes": [3, 4, 5]}, "odd resblock_kernel_sizes"),
        ({"resblock_dilation_sizes": [[1], [2]]}, "as many resblock_dilation_sizes"),
        ({"resblock_dilation_sizes": [1, 2, 3]}, "sizes of HiFi-GAN"),
        ({"upsample_initial_channel": 10}, "halved"),
        ({"num_mels": 0}, "whole numbers"),
        ({"num_mels": None}, "sizes of HiFi-GAN|whole numbers"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Sizes.of(settings(**changes))
