"""Connectionist temporal classification: place letters in what a recogniser makes of a sound (Graves et al. 2006).

T steps, C outputs, N letters, of which the lattice has 2 N + 1 states: a blank before, between and behind them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLANK = 0


def best_path(likely: NDArray[np.float32], letters: Sequence[int]) -> NDArray[np.intp] | None:
    """Return the first and the last step (N, 2) of each letter on the likeliest path; None where there are too few steps.

    likely: log-probabilities (T, C). Memory is T x (2 N + 1) bytes.
    """
    states = np.full(2 * len(letters) + 1, BLANK)
    states[1::2] = letters
    # A letter may follow another one without a blank between them, unless they are the same.
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    came = np.zeros((len(likely), len(states)), np.int8)  # from how many states before
    best = np.full(len(states), -np.inf)
    best[:2] = likely[0, states[:2]]
    for step in range(1, len(likely)):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]])[: len(states)], -np.inf)
        options = np.stack([best, one, two])
        came[step] = options.argmax(0)
        best = options.max(0) + likely[step, states]
    state = len(states) - 1
    if state and best[state - 1] > best[state]:
        state -= 1
    if not np.isfinite(best[state]):
        return None
    places = np.full((len(letters), 2), -1, np.intp)
    for step in range(len(likely) - 1, -1, -1):
        if state % 2:
            letter = state // 2
            places[letter, 0] = step
            places[letter, 1] = max(places[letter, 1], step)
        state -= int(came[step, state])  # in bytes it would overflow
    return places
