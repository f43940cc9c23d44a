"""All that a person hears of a study is equally loud, and nothing of it clips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.audio import FULL_SCALE, LOUDEST
from model.config import Audio
from model.loudness import LOUDNESS_DB, PEAK_DB, loudness_db, normalised
from model.vocoders.loading import GRIFFIN_LIM, load_vocoder

RATE = 22_050


def speech(seed: int, seconds: float = 1.0) -> np.ndarray:
    """Noise in syllables: a quarter of a second each, with a pause after every second one."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = np.abs(np.sin(4 * np.pi * time)) * (time % 0.75 < 0.5)
    return (0.2 * syllables * random.normal(size=time.size).clip(-3, 3)).astype(np.float32)


@given(st.floats(-40, 10), st.floats(-40, 10))
def test_two_waves_of_different_level_come_out_equally_loud(one_db: float, other_db: float) -> None:
    waves = [normalised(speech(seed) * 10 ** (db / 20), RATE) for seed, db in ((1, one_db), (2, other_db))]
    for wave in waves:
        assert loudness_db(wave, RATE) == pytest.approx(LOUDNESS_DB, abs=0.01)
        assert np.abs(wave).max() <= 10 ** (PEAK_DB / 20) + 1e-6


def test_a_pause_does_not_make_the_speech_louder() -> None:
    alone = normalised(speech(1), RATE)
    paused = normalised(np.concatenate([speech(1), np.zeros(2 * RATE, np.float32)]), RATE)
    assert paused[:RATE] == pytest.approx(alone, rel=0.01)


def test_a_wave_of_rare_peaks_stays_quieter_and_does_not_clip() -> None:
    click = np.zeros(RATE, np.float32)
    click[::5_000] = 1.0
    wave = normalised(click, RATE)
    assert 20 * np.log10(np.abs(wave).max()) == pytest.approx(PEAK_DB, abs=0.01)
    assert loudness_db(wave, RATE) < LOUDNESS_DB


@pytest.mark.parametrize("wave", [np.zeros(1_000, np.float32), np.zeros(0, np.float32), np.full(1_000, 1e-9, np.float32)])
def test_silence_stays_silence(wave: np.ndarray) -> None:
    after = normalised(wave, RATE)
    assert after.shape == wave.shape
    assert np.abs(after).max(initial=0.0) < 1e-5


@pytest.mark.parametrize("level", [-11.0, -5.0, 0.0, LOUDEST, 20.0])
def test_no_mel_becomes_a_sample_at_full_scale(level: float) -> None:
    """Also where the network is far too loud."""
    mel = np.full((20, 80), level, np.float32) + np.random.default_rng(0).normal(size=(20, 80)).astype(np.float32)
    wave = load_vocoder(GRIFFIN_LIM, Audio())(mel)
    assert np.isfinite(wave).all()
    assert np.abs(wave).max() < FULL_SCALE
