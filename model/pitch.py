"""The pitch of a voice, and how far that of two utterances of one sentence differs. Loads without torch.

S samples, F frames of audio.hop_samples, P pairs of frames that belong together.
"""

import numpy as np
from numpy.typing import NDArray

from model.config import Audio
from model.numba_cache import compile_alone

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0  # from a low man's creak to a child's exclamation
WINDOW_S = 0.05  # three periods of the lowest pitch
CENTS = 1_200  # in an octave


def pitch(wave: NDArray[np.float32], audio: Audio, frames: int) -> NDArray[np.float64]:
    """Return the fundamental frequency of a wave (S,) in Hz at `frames` frames, frame i centred at i hops; NaN: not voiced.

    Probabilistic YIN (Mauch and Dixon 2014). Frames behind the end of the wave are not voiced.
    """
    compile_alone(_shortest)
    found = _found(wave, audio)
    known = np.full(frames, np.nan)
    known[: len(found)] = found[:frames]
    return known


def _shortest() -> object:
    return _found(np.zeros(1, np.float32), Audio())


def _found(wave: NDArray[np.float32], audio: Audio) -> NDArray[np.float64]:
    import librosa

    window = 2 ** int(np.ceil(np.log2(WINDOW_S * audio.rate_hz)))
    found, _, _ = librosa.pyin(
        np.pad(wave, (0, max(0, window - len(wave)))),
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=audio.rate_hz,
        frame_length=window,
        hop_length=audio.hop_samples,
    )
    return np.asarray(found)


def pitch_errors(
    synthesised_hz: NDArray[np.float64], recorded_hz: NDArray[np.float64], path: NDArray[np.intp]
) -> tuple[float | None, float]:
    """Return how two pitches (F,) in Hz differ along a path (P, 2): RMSE in cents, and the share of pairs of unlike voicing.

    The first counts the pairs in which both are voiced; None where there is none.
    """
    one, other = synthesised_hz[path[:, 0]], recorded_hz[path[:, 1]]
    cents = CENTS * np.log2(one / other)
    both = np.isfinite(cents)
    rmse = float(np.sqrt(np.mean(cents[both] ** 2))) if both.any() else None
    return rmse, float(np.mean(np.isnan(one) != np.isnan(other)))
