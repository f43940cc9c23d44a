"""Distortion is the difference of two spectra in dB, whatever their pace and loudness; pitch is off by what it was shifted."""

import numpy as np
import pytest

from model.config import Audio
from model.distortion import mcd, warped
from model.pitch import pitch, pitch_errors
from tests.model.corpora import tone

AUDIO = Audio()


def test_the_distortion_ignores_pace_and_loudness_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    mel = random.normal(size=(40, 80)).astype(np.float32).cumsum(0)
    assert mcd(mel, mel) == pytest.approx(0, abs=1e-4)
    assert mcd(np.repeat(mel, 2, 0), mel) == pytest.approx(0, abs=1e-4), "time warping: a change of pace costs nothing"
    assert mcd(mel + 1.0, mel) == pytest.approx(0, abs=1e-3), "a change of loudness costs nothing"
    other = mel + random.normal(size=mel.shape).astype(np.float32)
    assert mcd(other, mel) > 1


def test_the_distortion_is_the_difference_of_two_spectra_in_db() -> None:
    """The root mean square of a cosine, 20 / ln 10 dB for a unit of the natural logarithm of a magnitude."""
    bands = (np.arange(80) + 0.5) / 80
    for ripple in (1, 5, 13):
        ripples = 0.3 * np.cos(np.pi * ripple * bands)[None].astype(np.float32)
        rms_db = float(np.sqrt(np.mean((20 / np.log(10) * ripples) ** 2)))
        assert mcd(ripples, np.zeros((1, 80), np.float32)) == pytest.approx(rms_db, rel=1e-5)


def test_the_path_says_which_frames_belong_together() -> None:
    mel = np.random.default_rng(0).normal(size=(40, 80)).astype(np.float32).cumsum(0)
    found = warped(np.repeat(mel, 2, 0), mel)
    assert (found.path[:, 0] // 2 == found.path[:, 1]).all()
    assert found.path[0].tolist() == [0, 0]
    assert found.path[-1].tolist() == [79, 39]


FRAMES = 44  # of half a second


@pytest.mark.parametrize("semitones", [-3, 0, 1, 5])
def test_a_tone_is_off_by_what_it_was_shifted(semitones: int) -> None:
    recorded, shifted = (pitch(tone(0.5, hertz), AUDIO, FRAMES) for hertz in (200.0, 200.0 * 2 ** (semitones / 12)))
    rmse, unlike = pitch_errors(shifted, recorded, same(FRAMES))
    assert rmse == pytest.approx(100 * abs(semitones), abs=11), "pyin rounds to a tenth of a semitone"
    assert unlike < 0.1


def test_silence_and_noise_have_no_pitch() -> None:
    voiced = pitch(tone(0.5, 200.0), AUDIO, FRAMES)
    noise = 0.1 * np.random.default_rng(0).normal(size=11_025).astype(np.float32)
    for wave in (noise, np.zeros(11_025, np.float32), np.zeros(3, np.float32)):
        assert pitch_errors(pitch(wave, AUDIO, FRAMES), voiced, same(FRAMES))[1] > 0.9, "voiced on one side alone"
    nothing = np.full(FRAMES, np.nan)
    assert pitch_errors(nothing, nothing, same(FRAMES)) == (None, 0.0)


def test_half_of_a_tone_is_missing() -> None:
    wave = tone(0.5, 200.0)
    wave[len(wave) // 2 :] = 0
    rmse, unlike = pitch_errors(pitch(wave, AUDIO, FRAMES), pitch(tone(0.5, 200.0), AUDIO, FRAMES), same(FRAMES))
    assert rmse == pytest.approx(0, abs=11)
    assert unlike == pytest.approx(0.5, abs=0.1)


def same(frames: int) -> np.ndarray:
    """The path of two utterances of one pace."""
    return np.repeat(np.arange(frames)[:, None], 2, 1)
