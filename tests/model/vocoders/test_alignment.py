"""A sound comes out at the sample at which it was recorded, although HiFi-GAN frames its mels in another way than we do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.audio import log_mel
from model.vocoders.hifigan import Generator, Sizes
from model.vocoders.loading import load_vocoder
from tests.model.test_audio import slaney_filters
from tests.model.vocoders.generators import AUDIO, Clicks, saved, scripted, settings

HOP = AUDIO.hop_samples
FILTERS = torch.from_numpy(slaney_filters(AUDIO)).float()
SMALL = {"resblock": "2", "upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}


def hifigan_mel(waves: Tensor) -> Tensor:
    """Analyse waves (B, S) as HiFi-GAN does: (n_fft - hop) / 2 reflected at both ends, frames not centred; (B, M, S / hop)."""
    margin = (AUDIO.fft_samples - HOP) // 2
    padded = nn.functional.pad(waves, (margin, margin), mode="reflect")
    window = torch.hann_window(AUDIO.window_samples)
    spectrum = torch.stft(padded, AUDIO.fft_samples, HOP, window=window, center=False, return_complex=True)
    return (FILTERS @ spectrum.abs()).clamp_min(1e-5).log()


def bumps(places: list[int], samples: int) -> np.ndarray:
    """Return a wave with a short pulse, a few samples wide, at each place."""
    distance = np.arange(samples)[:, None] - np.asarray(places)
    return (0.8 * np.exp(-np.square(distance / 3.0))).sum(1).astype(np.float32)


def test_hifigan_analyses_half_a_hop_later() -> None:
    """Our frame i is HiFi-GAN's frame i of the recording with half a hop before it."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 40 * HOP).astype(np.float32)
    shifted = torch.from_numpy(np.pad(wave, HOP // 2))[None]
    ours, theirs = log_mel(wave, AUDIO), hifigan_mel(shifted)[0].T.numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[3:-3], theirs[3:-3], atol=1e-3)


@pytest.mark.parametrize(("first", "shorter"), [(HOP // 2, 0), (0, HOP)], ids=["HiFi-GAN's frames", "centred frames"])
def test_a_click_comes_out_where_it_was_recorded(first: int, shorter: int, tmp_path: Path) -> None:
    places = [7 * HOP, 19 * HOP, 44 * HOP]
    wave = np.zeros(60 * HOP, np.float32)
    wave[places] = 0.9
    heard = load_vocoder(scripted(Clicks(HOP, first, shorter), tmp_path / "clicks.pt"), AUDIO)(log_mel(wave, AUDIO))
    assert heard.size == wave.size
    assert sorted(np.argsort(heard)[-3:]) == places


def trained() -> dict[str, Tensor]:
    """Train a small generator, on HiFi-GAN's own mels of pulses, to say the pulses where they are."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    generator = Generator(Sizes.of(settings(**SMALL)))
    optimiser = torch.optim.Adam(generator.parameters(), lr=3e-3)
    for _ in range(150):
        places = [sorted(random.integers(0, 24 * HOP, 3).tolist()) for _ in range(8)]
        waves = torch.from_numpy(np.stack([bumps(row, 24 * HOP) for row in places]))
        loss = (generator(hifigan_mel(waves))[:, 0] - waves).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return generator.state_dict()


def test_a_generator_trained_elsewhere_speaks_in_time(tmp_path: Path) -> None:
    vocoder = load_vocoder(saved(tmp_path, settings(**SMALL), {"generator": trained()}), AUDIO)
    random = np.random.default_rng(1)
    wave = bumps((np.arange(3, 57, 6) * HOP + random.integers(0, 3 * HOP, 9)).tolist(), 60 * HOP)
    heard = vocoder(log_mel(wave, AUDIO))
    assert heard.size == wave.size
    lags = np.arange(-HOP, HOP + 1)
    agreement = [np.dot(wave[2 * HOP : -2 * HOP], np.roll(heard, -lag)[2 * HOP : -2 * HOP]) for lag in lags]
    assert abs(lags[int(np.argmax(agreement))]) <= 1  # of the 8 samples that half a hop has
