"""The laws of the statistics of a corpus: what they call usual, and what they call damaged."""

import numpy as np
import pytest

from objective.checking.statistics import (
    correlation,
    deviation,
    distances,
    expected_correlation,
    near_equal,
    rate_distances,
    verdict,
)  # fmt: skip

LINES = 200


def corpus(spread: float = 0.08, lines: int = LINES) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds and letters of lines that are spoken at 12 letters a second, with some irregularity."""
    draw = np.random.default_rng(0)
    letters = draw.integers(20, 160, lines).astype(float)
    return letters / 12 * np.exp(spread * draw.normal(size=lines)), letters


def test_a_few_outliers_do_not_move_what_is_usual() -> None:
    values = np.random.default_rng(0).normal(size=1_000)
    middle, spread = deviation(values)
    assert (middle, spread) == pytest.approx((0, 1), abs=0.1)
    values[:100] = 1e6
    assert deviation(values) == pytest.approx((middle, spread), abs=0.3)


def test_a_constant_corpus_has_no_outliers() -> None:
    assert not distances(np.full(20, 3.0), floor=0.1).any()


def test_halves_and_doubles_are_far_from_the_usual_rate_and_on_their_side() -> None:
    seconds, letters = corpus()
    letters[0], letters[1] = 40, 160
    seconds[0], seconds[1] = 80 / 12, 80 / 12  # half of the text, and twice the text
    rates = rate_distances(seconds, letters)
    assert rates[0] > 5
    assert rates[1] < -5
    assert np.abs(rates[2:]).max() < 4


def test_a_short_line_may_vary_more() -> None:
    seconds, letters = corpus()
    letters[0], letters[1] = 5, 150
    seconds[:2] = 1.5 * letters[:2] / 12
    rates = rate_distances(seconds, letters)
    assert 0 < rates[0] < rates[1]


def test_rank_correlation_knows_order_and_ties_alone() -> None:
    values = np.array([1.0, 2.0, 2.0, 5.0])
    assert correlation(values, np.exp(values)) == pytest.approx(1)
    assert correlation(values, -values) == pytest.approx(-1)
    assert correlation(values, np.ones(4)) == 0


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_shifted_texts_are_found_with_their_shift(shift: int) -> None:
    seconds, letters = corpus()
    assert verdict(np.roll(seconds, shift), letters) == ("shifted", shift)


@pytest.mark.parametrize("lines", [32, LINES])
def test_a_good_corpus_is_fine_and_a_shuffled_one_is_not(lines: int) -> None:
    seconds, letters = corpus(lines=lines)
    assert verdict(seconds, letters) == ("fine", 0)
    assert verdict(np.random.default_rng(1).permutation(seconds), letters)[0] == "shuffled"


def test_half_of_all_texts_or_sounds_is_too_little() -> None:
    seconds, letters = corpus()
    assert verdict(seconds, letters / 2.5)[0] == "cut"
    assert verdict(seconds / 2.5, letters)[0] == "crowded"


def test_few_lines_and_equal_lengths_say_nothing() -> None:
    seconds, letters = corpus()
    assert verdict(seconds[:5], letters[:5])[0] == "unknown"
    equal = np.full(LINES, 40.0) + np.arange(LINES) % 2
    assert expected_correlation(equal) < 0.2
    assert verdict(np.random.default_rng(0).permutation(seconds), equal)[0] == "unknown"


def test_a_text_without_its_rarest_word_is_near_equal() -> None:
    assert near_equal(["one two three four rare"], ["one two three four", "one two"]) == [(0, 0, 0.8)]


def test_near_equal_texts_are_those_that_a_complete_search_finds() -> None:
    draw = np.random.default_rng(0)
    words = [f"w{number}" for number in range(30)]
    others = [" ".join(draw.choice(words, 8)) for _ in range(60)]
    texts = [" ".join([*other.split()[:7], "new"]) for other in others[:10]] + ["w1 w2"] + others[10:20]
    found = near_equal(texts, others, least=0.7)

    def share(one: str, other: str) -> float:
        first, second = set(one.split()), set(other.split())
        return len(first & second) / len(first | second)

    best = {
        place: max(share(text, other) for other in others) for place, text in enumerate(texts) if len(set(text.split())) >= 5
    }
    assert {place: value for place, _, value in found} == {place: value for place, value in best.items() if value >= 0.7}
    assert found
