"""Convert waves to log-mels and back, and sound files to waves and back. The log-mels equal NVIDIA/tacotron2's.

S samples, T mel frames, F = fft_samples // 2 + 1 frequencies, M mel bands. librosa and soundfile are imported in the functions
that use them, so that cached mels can be read without them.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import sound_files
from model.config import Audio
from model.files import atomic_write

Floats = NDArray[np.float32]


FULL_SCALE = 0.999  # of [-1, 1]: a sample of this magnitude or more counts as being at full scale
BLOCK_FRAMES = 512  # transformed in one piece: about 8 MB, so that an hour of sound needs no more memory than a sentence
LOUDEST = 5.0  # natural log of a magnitude; full-scale speech reaches 2
OPUS_HZ = 24_000  # a rate that Opus supports, and enough for speech
MOMENTUM = 0.99  # of fast Griffin-Lim (Perraudin et al. 2013)


@dataclass(frozen=True, slots=True)
class Source:
    """The properties of a recording in its file, before mixing down and resampling."""

    rate_hz: int
    channels: int
    peak: float  # largest magnitude, 1 = full scale
    clipped: float  # share of samples at full scale, in runs of three or more


@lru_cache(maxsize=8)
def _filters(audio: Audio) -> NDArray[np.float64]:
    """Return librosa's mel filters (M, F), with slaney scale and slaney norm."""
    import librosa

    bank = librosa.filters.mel(
        sr=audio.rate_hz,
        n_fft=audio.fft_samples,
        n_mels=audio.mel_bands,
        fmin=audio.fmin_hz,
        fmax=audio.fmax_hz,
        dtype=np.float64,
    )
    return np.asarray(bank)


def band_edges(audio: Audio) -> list[float]:
    """Return the upper edge of each mel band in Hz."""
    import librosa

    return [float(edge) for edge in librosa.mel_frequencies(audio.mel_bands + 2, fmin=audio.fmin_hz, fmax=audio.fmax_hz)[2:]]


@lru_cache(maxsize=8)
def _window(audio: Audio) -> NDArray[np.float64]:
    """Return a periodic Hann window, centred and zero-padded to (fft_samples,)."""
    hann = np.hanning(audio.window_samples + 1)[:-1]
    left = (audio.fft_samples - audio.window_samples) // 2
    return np.pad(hann, (left, audio.fft_samples - audio.window_samples - left))


def log_mel(wave: Floats, audio: Audio) -> Floats:
    """Return the natural log of mel-weighted STFT magnitudes, clamped at `audio.floor`: (S,) in [-1, 1] -> (T, M).

    T = audio.frames(S). The STFT is centred, reflect-padded and in double precision: in single precision, quiet bands next to
    loud ones are off by more than 1e-4. Raises ValueError for a wave that is empty, not one-dimensional or leaves [-1, 1].
    """
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f"need a wave of shape (samples,) with at least one sample, got shape {wave.shape}")
    if not np.abs(wave).max() <= 1:
        raise ValueError(f"need a finite wave in [-1, 1], got a peak of {np.abs(wave).max():g}: scale it first")
    before = audio.fft_samples // 2
    padded = np.pad(wave, (before, audio.fft_samples - before), mode="reflect" if wave.size > 1 else "edge")
    frames = np.lib.stride_tricks.sliding_window_view(padded, audio.fft_samples)[:: audio.hop_samples]  # (T, fft_samples)
    mel = np.empty((len(frames), audio.mel_bands), np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = frames[start : start + BLOCK_FRAMES]
        magnitude = np.abs(np.fft.rfft(block * _window(audio)))  # (block, F), in double precision as the window is
        mel[start : start + BLOCK_FRAMES] = np.log(np.maximum(magnitude @ _filters(audio).T, audio.floor))
    return mel


def griffin_lim(mel: Floats, audio: Audio, iterations: int = 60, seed: int = 0) -> Floats:
    """Invert a log-mel by fast Griffin-Lim: (T, M) -> (S,) in [-1, 1] with S = hop_samples * (T - 1).

    Magnitudes come from the pseudo-inverse of the mel filters, cut at zero, and the first phases are drawn from `seed`. The
    output of an untrained network is accepted, too: one frame gives one hop, and values above LOUDEST are clamped to it. Raises
    ValueError for another shape.
    """
    import librosa

    if mel.ndim != 2 or mel.shape[0] < 1 or mel.shape[1] != audio.mel_bands:
        raise ValueError(f"need a mel of shape (frames >= 1, {audio.mel_bands}), got {mel.shape}")
    samples = audio.hop_samples * max(1, mel.shape[0] - 1)
    silence = max(0, 2 + audio.fft_samples // audio.hop_samples - mel.shape[0])  # a transform needs a complete window
    mel = np.pad(np.minimum(mel, LOUDEST), ((0, silence), (0, 0)), constant_values=np.log(audio.floor))
    magnitude = np.maximum(np.linalg.pinv(_filters(audio)) @ np.exp(mel.T.astype(np.float64)), 0)  # (F, T)
    wave: Floats = librosa.griffinlim(
        magnitude.astype(np.float32),
        n_iter=iterations,
        n_fft=audio.fft_samples,
        hop_length=audio.hop_samples,
        win_length=audio.window_samples,
        length=audio.hop_samples * (mel.shape[0] - 1),
        pad_mode="reflect",
        momentum=MOMENTUM,
        random_state=seed,
    )
    return np.clip(wave[:samples], -1, 1)


def decode(content: bytes, audio: Audio) -> tuple[Floats, Source]:
    """Decode a file's bytes into a mono wave (S,) at `audio.rate_hz` in [-1, 1], and return its original properties with it.

    The kind of file is recognised by its content. Raises SoundError.
    """
    samples, rate_hz = sound_files.samples(content)
    source = Source(rate_hz, samples.shape[1], float(np.abs(samples).max()), _clipped(samples))
    wave = samples.mean(axis=1)
    if rate_hz != audio.rate_hz:
        import librosa

        wave = librosa.resample(wave, orig_sr=rate_hz, target_sr=audio.rate_hz, res_type="soxr_hq")
    return np.clip(wave, -1, 1).astype(np.float32), source  # lossy codecs and resampling overshoot


def save(path: Path, wave: Floats, audio: Audio) -> None:
    """Write a wave (S,) as 16-bit WAV, atomically. Values outside [-1, 1] are clipped."""
    with atomic_write(path) as part:  # libsndfile does not report a full disk, a plain write does
        part.write_bytes(wav(wave, audio))


def wav(wave: Floats, audio: Audio) -> bytes:
    """Return a wave (S,) as a 16-bit WAV file. Values outside [-1, 1] are clipped."""
    import soundfile

    sound = BytesIO()
    soundfile.write(sound, np.clip(wave, -1, 1), audio.rate_hz, format="WAV", subtype="PCM_16")
    return sound.getvalue()


def pcm(wave: Floats) -> bytes:
    """Return a wave (S,) as 16-bit samples, little-endian, as WAV files hold them. Values outside [-1, 1] are clipped."""
    return np.rint(np.clip(wave, -1, 1) * 32_767).astype("<i2").tobytes()


def wav_header(audio: Audio) -> bytes:
    """Return the header of a WAV file whose length is not known yet: players read 16-bit samples until the stream ends."""
    rate = audio.rate_hz
    layout = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)  # PCM, mono
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + layout + b"data\xff\xff\xff\xff"


def save_opus(path: Path, wave: Floats, audio: Audio) -> None:
    """Write a wave (S,) as Ogg Opus, atomically: a tenth of a WAV's size, played by browsers and telephones."""
    with atomic_write(path) as part:
        part.write_bytes(opus(wave, audio))


def opus(wave: Floats, audio: Audio) -> bytes:
    """Return a wave (S,) as an Ogg Opus file. Values outside [-1, 1] are clipped."""
    import soundfile

    sound = BytesIO()
    soundfile.write(sound, resampled(wave, audio, OPUS_HZ), OPUS_HZ, format="OGG", subtype="OPUS")
    return sound.getvalue()


def resampled(wave: Floats, audio: Audio, rate_hz: int) -> Floats:
    """Return a wave (S,) at another rate, in [-1, 1]."""
    import librosa

    found: Floats = librosa.resample(np.clip(wave, -1, 1), orig_sr=audio.rate_hz, target_sr=rate_hz, res_type="soxr_hq")
    return np.clip(found, -1, 1)


def _clipped(samples: Floats) -> float:
    """Return the share of samples at full scale in runs of three or more."""
    full = np.abs(samples) >= FULL_SCALE
    runs = full[:-2] & full[1:-1] & full[2:]
    inside = np.zeros_like(full)
    for shift in range(3):
        inside[shift : len(full) - 2 + shift] |= runs
    return float(inside.mean())
