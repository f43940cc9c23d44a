"""Log-mels equal NVIDIA's, follow decibels and can be inverted; sound files of all kinds are read or refused."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from model.audio import decode, griffin_lim, log_mel, save
from model.config import Audio
from model.sound_files import SoundError, read

AUDIO = Audio()


def vowel(seconds: float = 0.6, rate_hz: int = 22_050, pitch_hz: float = 140.0) -> np.ndarray:
    """Return a buzzing tone with formants, in [-1, 1]."""
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    harmonics = pitch_hz * np.arange(1, 40)
    weights = sum(np.exp(-(((harmonics - formant) / 250) ** 2)) for formant in (700, 1200, 2600)) + 0.02
    wave = (weights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def slaney_filters(audio: Audio) -> np.ndarray:
    """Return filters (M, F) by their definition: linear below 1 kHz, logarithmic above, triangles of equal area."""

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))

    def mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    corners = hertz(np.linspace(mel(audio.fmin_hz), mel(audio.fmax_hz), audio.mel_bands + 2))
    bins = np.arange(audio.fft_samples // 2 + 1) * audio.rate_hz / audio.fft_samples
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return triangles * 2 / (high - low)


def nvidia_mel(wave: np.ndarray, audio: Audio) -> np.ndarray:
    """Compute a mel (T, M) like NVIDIA's code: a strided convolution with a windowed Fourier basis, in double precision."""
    angles = 2 * np.pi * np.outer(np.arange(audio.fft_samples // 2 + 1), np.arange(audio.fft_samples)) / audio.fft_samples
    margin = (audio.fft_samples - audio.window_samples) // 2
    window = torch.nn.functional.pad(torch.hann_window(audio.window_samples, dtype=torch.float64), (margin, margin))
    basis = torch.from_numpy(np.concatenate([np.cos(angles), -np.sin(angles)])) * window
    padded = torch.nn.functional.pad(torch.from_numpy(wave).double()[None, None], [audio.fft_samples // 2] * 2, mode="reflect")
    real, imaginary = torch.conv1d(padded, basis[:, None], stride=audio.hop_samples)[0].chunk(2)
    magnitude = torch.sqrt(real**2 + imaginary**2).numpy()
    return np.log(np.clip(slaney_filters(audio) @ magnitude, audio.floor, None)).T


@pytest.mark.parametrize(
    "audio",
    [AUDIO, Audio(16_000, fft_samples=512, hop_samples=160, window_samples=400, mel_bands=40, fmin_hz=60, fmax_hz=7_600)],
    ids=["nvidia", "16 kHz, short window"],
)
@pytest.mark.parametrize("samples", [600, 1_024, 12_800, 13_055], ids=str)
def test_log_mel_equals_nvidias(audio: Audio, samples: int) -> None:
    wave = noise(samples) * np.linspace(0, 1, samples, dtype=np.float32) ** 4  # from silence to loud
    mel = log_mel(wave, audio)
    assert mel.dtype == np.float32
    assert mel.shape == (audio.frames(samples), audio.mel_bands)
    np.testing.assert_allclose(mel, nvidia_mel(wave, audio), atol=1e-4, rtol=0)


def test_quiet_bands_next_to_a_loud_tone_are_exact() -> None:
    tone = 0.9 * np.sin(2 * np.pi * 120 * np.arange(8_000) / AUDIO.rate_hz)
    wave = (tone + 2e-5 * noise(8_000)).astype(np.float32)
    np.testing.assert_allclose(log_mel(wave, AUDIO), nvidia_mel(wave, AUDIO), atol=1e-4, rtol=0)


def test_a_long_wave_is_analysed_as_if_in_one_piece() -> None:
    wave = noise(256 * 1_100)  # more than two blocks of frames
    np.testing.assert_allclose(log_mel(wave, AUDIO), nvidia_mel(wave, AUDIO), atol=1e-4, rtol=0)


@pytest.mark.parametrize("decibels", [1, 6, 20])
def test_log_mel_falls_by_the_decibels_removed(decibels: float) -> None:
    wave = noise(6_000)
    fall = log_mel(wave, AUDIO) - log_mel((wave * 10 ** (-decibels / 20)).astype(np.float32), AUDIO)
    np.testing.assert_allclose(fall, math.log(10) / 20 * decibels, atol=1e-4)


def test_silence_is_at_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(2_000, np.float32), AUDIO), math.log(1e-5), rtol=1e-6)


@pytest.mark.parametrize("wave", [noise(900) * 3, noise(900) * np.nan, noise(0), noise(900).reshape(2, 450)], ids=str)
def test_log_mel_refuses_arrays_that_are_no_wave(wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match="need a"):
        log_mel(wave, AUDIO)


def test_griffin_lim_inverts_the_mel() -> None:
    mel = log_mel(vowel(), AUDIO)
    wave = griffin_lim(mel, AUDIO)
    assert wave.dtype == np.float32
    assert wave.size == AUDIO.hop_samples * (len(mel) - 1)
    loud = mel > mel.max() - 6  # within 52 dB of the loudest
    error = np.abs(log_mel(wave, AUDIO) - mel)[loud].mean()
    assert error < 0.3  # 2.6 dB
    assert error < 0.7 * np.abs(log_mel(griffin_lim(mel, AUDIO, iterations=1), AUDIO) - mel)[loud].mean()


def test_griffin_lim_depends_on_the_mel_and_the_seed_only() -> None:
    mel = log_mel(vowel(0.2), AUDIO)
    first, again, other = (griffin_lim(mel, AUDIO, iterations=3, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(5, 40), (80,)], ids=str)
def test_griffin_lim_refuses_arrays_that_are_no_mel(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need a mel of shape"):
        griffin_lim(np.zeros(shape, np.float32), AUDIO)


def encoded(wave: np.ndarray, rate_hz: int = 22_050, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("format", "error"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.03), ("MP3", 0.03)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100])
def test_every_kind_of_file_gives_the_same_wave(format: str, error: float, channels: int, rate_hz: int) -> None:
    tone = vowel(rate_hz=rate_hz)
    left_louder = tone if channels == 1 else np.stack([1.2 * tone, 0.8 * tone], axis=1)
    wave, source = decode(encoded(left_louder, rate_hz, format), AUDIO)
    assert (source.rate_hz, source.channels, source.clipped) == (rate_hz, channels, 0)
    assert source.peak == pytest.approx(0.6 if channels == 2 else 0.5, abs=max(0.002, 2 * error))
    expected = vowel()
    assert wave.dtype == np.float32
    assert abs(wave.size - expected.size) <= 2
    inner = slice(1_500, -1_500)  # the tone starts and stops abruptly, which no resampler keeps
    difference = wave[: expected.size][inner] - expected[: wave.size][inner]
    assert np.sqrt(np.mean(difference**2)) < error + (rate_hz != 22_050) * 0.01


def test_saving_and_loading_keep_the_wave(tmp_path) -> None:
    path = tmp_path / "голос ü.wav"
    save(path, vowel(), AUDIO)
    assert soundfile.info(path).subtype == "PCM_16"
    wave, _ = decode(read(path), AUDIO)
    np.testing.assert_allclose(wave, vowel(), atol=2 / 32_768)


def test_a_save_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "tone.wav"
    save(path, vowel(), AUDIO)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="dim"):
        save(path, np.zeros((2, 2, 2), np.float32), AUDIO)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_clipping_is_the_share_of_samples_in_runs_at_full_scale() -> None:
    wave = np.zeros(1_000, np.float32)
    wave[[10, 20, 21]] = 1  # a lone sample and a pair do not count
    assert decode(encoded(wave), AUDIO)[1].clipped == 0
    wave[100:103] = 1
    wave[200:207] = -1
    assert decode(encoded(wave), AUDIO)[1].clipped == pytest.approx(0.01)


def test_a_float_file_beyond_full_scale_is_clipped() -> None:
    wave, source = decode(encoded(4 * vowel(), subtype="FLOAT"), AUDIO)
    assert np.abs(wave).max() == 1
    assert source.peak == pytest.approx(2, rel=1e-3)
    assert source.clipped > 0.05


def test_a_wav_written_to_a_pipe_loads() -> None:
    content = bytearray(encoded(vowel()))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"  # the size was not known when the header was written
    assert decode(bytes(content), AUDIO)[0].size == vowel().size


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes that cannot be decoded"),
        (b"<html>404</html>", "cannot be decoded"),
        (encoded(vowel())[:9_000], "cut short: its header promises"),
        (encoded(vowel(), format="FLAC")[:9_000], "cannot be decoded|cut short"),
        (encoded(vowel(), format="MP3")[:3_000], "cut short"),
        (encoded(np.full(99, np.nan), subtype="FLOAT"), "not finite"),
        (encoded(np.zeros(0)), "no sample"),
    ],
    ids=["nothing", "a web page", "half a wav", "half a flac", "half an mp3", "nan", "no sample"],
)
def test_an_incomplete_recording_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(SoundError, match=reason):
        decode(content, AUDIO)


def test_a_missing_file_and_a_folder_are_refused(tmp_path) -> None:
    with pytest.raises(SoundError, match="no such file"):
        read(tmp_path / "gone.wav")
    with pytest.raises(SoundError, match="is a directory"):
        read(tmp_path)


def test_audio_loads_without_heavy_libraries() -> None:
    code = "import sys, model.audio, model.data.corpus; print({'librosa', 'soundfile', 'torch', 'scipy'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_griffin_lim_accepts_the_output_of_an_untrained_network(frames: int) -> None:
    mel = np.full((frames, AUDIO.mel_bands), 200.0, np.float32)
    wave = griffin_lim(mel, AUDIO)
    assert wave.shape == (AUDIO.hop_samples * max(1, frames - 1),)
    assert np.isfinite(wave).all()
