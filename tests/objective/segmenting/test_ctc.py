"""Placing letters in a CTC lattice: the likeliest path, against all paths of small lattices."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from objective.segmenting.ctc import BLANK, best_path


def spelt(path: tuple[int, ...]) -> list[int]:
    return [output for output, _ in itertools.groupby(path) if output != BLANK]


def likelihoods(steps: int, outputs: int, seed: int) -> NDArray[np.float32]:
    scores = np.random.default_rng(seed).standard_normal((steps, outputs)) * 2
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def path_of(places: NDArray[np.intp], letters: list[int], steps: int) -> tuple[int, ...]:
    path = [BLANK] * steps
    for letter, (first, last) in zip(letters, places, strict=True):
        path[first : last + 1] = [letter] * (last - first + 1)
    return tuple(path)


@pytest.mark.parametrize("letters", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2], [2, 2, 2]])
@pytest.mark.parametrize("seed", range(5))
def test_no_path_is_likelier(letters: list[int], seed: int) -> None:
    steps, outputs = 6, 3
    likely = likelihoods(steps, outputs, seed)
    places = best_path(likely, letters)
    assert places is not None
    every = [path for path in itertools.product(range(outputs), repeat=steps) if spelt(path) == letters]
    best = max(float(likely[range(steps), path].sum()) for path in every)
    found = path_of(places, letters, steps)
    assert spelt(found) == letters
    assert float(likely[range(steps), found].sum()) == pytest.approx(best, abs=1e-5)


def test_equal_neighbours_need_a_blank_between_them() -> None:
    likely = likelihoods(2, 3, 0)
    assert best_path(likely, [1, 1]) is None
    assert best_path(likely, [1, 2]) is not None


def test_letters_are_in_order_and_apart() -> None:
    places = best_path(likelihoods(40, 5, 1), [1, 2, 2, 3, 4, 4, 1])
    assert places is not None
    assert (places[:, 0] <= places[:, 1]).all()
    assert (places[1:, 0] > places[:-1, 1]).all()


def test_a_certain_sound_is_placed_exactly() -> None:
    """With more states than a byte counts."""
    letters = [1 + index % 3 for index in range(200)]
    path = [output for letter in letters for output in (letter, letter, BLANK)]
    likely = np.full((len(path), 4), np.log(1e-3), np.float32)
    likely[range(len(path)), path] = np.log(0.997)
    places = best_path(likely, letters)
    assert places is not None
    assert places.tolist() == [[3 * index, 3 * index + 1] for index in range(200)]
