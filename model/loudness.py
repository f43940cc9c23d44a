"""One loudness for everything that a person hears of a study, so that no sample sounds better for being louder.

The loudness of a wave is the RMS level of its speech in dB below full scale (dBFS); pauses do not count, as in EBU R 128.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOUDNESS_DB = -23.0  # what EBU R 128 asks of broadcasts: the peaks of speech lie 12 to 18 dB above it
PEAK_DB = -1.0  # lossy codecs overshoot a little
GAIN_DB = 60.0  # at most; anything quieter is treated as silence
BLOCK_S = 0.05
PAUSE_DB = -20.0  # of the mean: quieter blocks are pauses


def loudness_db(wave: Floats, rate_hz: int) -> float:
    """Return the loudness of a wave (S,) in dBFS; -inf for silence."""
    if not np.any(wave):
        return -np.inf
    block = max(1, round(BLOCK_S * rate_hz))
    blocks = np.pad(wave.astype(np.float64), (0, -len(wave) % block)).reshape(-1, block)
    power = np.square(blocks).mean(axis=1)
    return float(10 * np.log10(power[power >= power.mean() * 10 ** (PAUSE_DB / 10)].mean()))


def normalised(wave: Floats, rate_hz: int) -> Floats:
    """Return the wave (S,) at LOUDNESS_DB.

    Where its peaks would exceed PEAK_DB it stays quieter, as a limiter would distort it; silence stays silence.
    """
    loudness = loudness_db(wave, rate_hz)
    if not np.isfinite(loudness):
        return wave
    headroom_db = PEAK_DB - 20 * float(np.log10(np.abs(wave).max()))
    return wave * np.float32(10 ** (min(LOUDNESS_DB - loudness, headroom_db, GAIN_DB) / 20))
