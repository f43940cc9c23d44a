"""Equal configurations are told apart as rarely as the level of the test says, a broken twin always."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from objective.display.difference import LEAST, LEVEL, difference

RECORDED = json.loads((Path(__file__).parent / "seeds.json").read_text())
EQUAL, BROKEN = RECORDED["configuration"], RECORDED["broken twin"]


def test_equals_are_told_apart_in_at_most_one_of_twenty_comparisons() -> None:
    """All ways to divide twelve recorded results of one configuration between two sides."""
    values = np.array(EQUAL[:12])
    told = []
    for chosen in combinations(range(12), 6):
        inside = np.isin(np.arange(12), chosen)
        told.append(difference("value", values[inside], values[~inside]).better is not None)
    assert np.mean(told) <= LEVEL


@pytest.mark.parametrize("seeds", [LEAST, 5, 6])
def test_a_broken_twin_is_worse(seeds: int) -> None:
    found = difference("value", EQUAL[:seeds], BROKEN[:seeds])
    assert found.better == "A"
    assert found.verdict.startswith("A is better: ")
    assert found.interval[0] < found.effect < found.interval[1]
    assert difference("value", BROKEN[:seeds], EQUAL[:seeds]).better == "B"


def test_the_same_results_are_no_difference() -> None:
    found = difference("value", [0.5] * 4, [0.5] * 4)
    assert (found.better, found.p, found.effect) == (None, 1.0, 0.0)
    assert "no difference" in found.verdict


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [([1.0] * 3, [2.0] * 9, "need at least 4 results of each side, got 3 and 9"), ([1.0] * 4, [float("nan")] * 4, "finite")],
)
def test_what_cannot_be_told_is_refused(a: list[float], b: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        difference("value", a, b)
