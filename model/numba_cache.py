"""librosa's numba functions are compiled by one process at a time.

Four processes that did so at once left a cache on disk with which every later process ended with a segmentation fault
(numba 0.68).
"""

from functools import cache

import numpy as np

from model.files import alone, cache_folder


@cache
def compile_alone() -> None:
    """Let librosa compile and keep what this project calls, if it has not yet, while no other process of this user does."""
    try:
        with alone(cache_folder() / "librosa.lock"):
            import librosa

            librosa.pyin(np.zeros(2_048, np.float32), fmin=65.0, fmax=500.0, sr=22_050, frame_length=2_048, hop_length=256)
            librosa.sequence.dtw(C=np.zeros((2, 2), np.float32))
    except OSError:
        pass  # no folder for a lock
