"""Equal configurations are told apart as rarely as the level of the test says, a broken twin always."""

import json
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from objective.display.difference import LEAST, LEVEL, PAIRS, difference, paired

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


SENTENCES = np.linspace(0, 1, 8)  # they differ more than voices do


def test_pairs_of_equals_are_told_apart_in_at_most_one_of_twenty_comparisons() -> None:
    """All signs that chance may give to the differences of eight sentences."""
    sizes = 0.01 * np.random.default_rng(3).random(8)
    told = [paired("cer", SENTENCES, SENTENCES + sizes * signs).better is not None for signs in product((-1, 1), repeat=8)]
    assert np.mean(told) <= LEVEL


@pytest.mark.parametrize("count", [PAIRS, 8])
def test_pairs_show_what_the_spread_of_the_sentences_hides(count: int) -> None:
    worse = SENTENCES + np.linspace(0.02, 0.03, 8)
    found = paired("cer", SENTENCES[:count], worse[:count])
    assert found.better == "A"
    assert found.interval[0] < found.effect < found.interval[1]
    assert 0.02 < found.interval[0] < found.interval[1] < 0.03
    assert found.verdict.endswith(f"{count} sentences")
    assert difference("cer", SENTENCES[:count], worse[:count]).better is None
    assert paired("cer", worse[:count], SENTENCES[:count]).better == "B"


def test_the_same_sentences_are_no_difference() -> None:
    found = paired("cer", SENTENCES, SENTENCES)
    assert (found.better, found.p, found.effect, found.interval) == (None, 1.0, 0.0, (0.0, 0.0))


@pytest.mark.parametrize(("a", "b"), [([1.0] * 5, [2.0] * 5), ([1.0] * 8, [2.0] * 7), ([1.0] * 8, [float("inf")] * 8)])
def test_pairs_that_cannot_be_told_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"need (at least 6 pairs|finite results)"):
        paired("cer", a, b)
