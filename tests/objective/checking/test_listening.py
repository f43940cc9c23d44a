"""A text that belongs to another recording is no likelier than others, and the line that it belongs to is named."""

import math
from collections.abc import Sequence

import pytest
import torch

from model.listener import Listener, Recogniser
from model.text.languages import find_language
from objective.checking.listening import fit, likely_source

EN = find_language("en")


def test_the_fit_of_a_text_counts_deviations_of_the_others() -> None:
    others = [10.0, 12.0, 14.0]
    assert fit(12.0, others) == pytest.approx(0)
    assert fit(5.0, others) > 3 > fit(11.0, others) > 0 > fit(14.0, others)


@pytest.mark.parametrize(("own", "others"), [(math.inf, [1.0, 2.0]), (1.0, [math.inf, 2.0]), (1.0, [])])
def test_without_others_or_with_too_long_a_text_nothing_is_known(own: float, others: Sequence[float]) -> None:
    assert fit(own, others) == 0


def test_the_line_whose_text_was_heard_is_named_where_it_is_clear() -> None:
    texts = ["the red apples fall", "a boat comes home", "nobody knows the way"]
    assert likely_source("a bot coms hom", texts[0], texts) == 1
    assert likely_source("a bot coms hom", texts[1], texts) is None  # its own
    assert likely_source("zzz", texts[0], texts) is None


def test_weighing_a_text_agrees_with_hearing_it() -> None:
    torch.manual_seed(0)
    listener = Listener(Recogniser(80, len(EN.letters) + 2), EN, -5.0, 2.0)
    mels, lengths = torch.randn(2, 60, 80) - 5, torch.tensor([60, 40])
    texts = [["a boat.", "home again, and more"], ["the way.", "a" * 70]]
    heard = [listener.hear(mels, lengths, [row[place] for row in texts]) for place in range(2)]
    for row, (text, costs) in enumerate(listener.weigh(mels, lengths, texts)):
        assert text == heard[0][row].text
        for place, cost in enumerate(costs):
            letters = len(texts[row][place].rstrip(".").replace(",", ""))
            surprise = min(1.0, cost / letters / math.log(len(EN.letters) + 2))
            assert surprise == pytest.approx(heard[place][row].surprise, rel=1e-4)
    assert math.isinf(listener.weigh(mels, lengths, texts)[1][1][1])  # 70 letters in 20 steps
