"""How far two log-mels of one sentence differ, along the path of dynamic time warping. Loads without torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.numba_cache import compile_alone

COEFFICIENTS = 13  # mel-cepstral, the energy left out


@dataclass(frozen=True, slots=True)
class Warping:
    """Two utterances laid over each other."""

    path: NDArray[np.intp]  # (P, 2) the frames of the two that belong together, in the order of time
    mcd_db: float  # mean mel-cepstral distortion along the path


def warped(synthesised: NDArray[np.float32], recorded: NDArray[np.float32]) -> Warping:
    """Lay two natural-log mels (T, M) of any lengths T >= 1 over each other by their cepstra.

    The distortion is that of Kubichek 1993: cepstra c_m describe a frame of M bands as sum_m c_m cos(m w), so that
    10 / ln 10 sqrt(2 sum (difference)^2) is the root mean square, in dB, by which two smoothed spectra differ. Coefficients
    1 to 13: a change of loudness costs nothing.
    """
    from scipy.fft import dct

    cepstra: list[NDArray[np.float32]] = [
        dct(mel, axis=1)[:, 1 : COEFFICIENTS + 1] / mel.shape[1]
        for mel in (synthesised, recorded)  # scipy's DCT is 2 sum x cos
    ]
    cost = np.linalg.norm(cepstra[0][:, None] - cepstra[1][None], axis=2)
    compile_alone(_shortest)
    path = _path(cost)
    return Warping(path[::-1], float(10 * np.sqrt(2) / np.log(10) * np.mean([cost[i, j] for i, j in path])))


def _shortest() -> object:
    return _path(np.zeros((2, 2), np.float32))


def _path(cost: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the cheapest path (P, 2) through a matrix of costs, from its end to its start."""
    import librosa

    return np.asarray(librosa.sequence.dtw(C=cost)[1])


def mcd(synthesised: NDArray[np.float32], recorded: NDArray[np.float32]) -> float:
    """Return the mel-cepstral distortion in dB between two log-mels (T, M) along the path of time warping (`warped`)."""
    return warped(synthesised, recorded).mcd_db
