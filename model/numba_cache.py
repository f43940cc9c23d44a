"""librosa's numba functions are compiled by one process at a time.

Four processes that did so at once left a cache on disk with which every later process ended with a segmentation fault
(numba 0.68).
"""

from collections.abc import Callable
from functools import cache

from model.files import alone, cache_folder


@cache
def compile_alone(call: Callable[[], object]) -> None:
    """Let the first `call` in this process happen while no other process of this user makes its first one."""
    try:
        with alone(cache_folder() / "librosa.lock"):
            call()
    except OSError:
        pass  # no folder for a lock
