"""A text is divided where a reader breathes, nothing of it is lost, and no piece is longer than a voice can say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text.sentences import CLAUSE_S, PARAGRAPH_S, SENTENCE_S, SHORT, pieces

WORD = st.text("abcdefgh", min_size=1, max_size=9) | st.sampled_from(["no.", "yes,", "why?", "a;", "-"])
WORDS = st.lists(WORD, max_size=40)


@given(WORDS, st.integers(SHORT, 80), st.sampled_from(["en", "ru"]))
def test_nothing_is_lost_and_no_piece_is_too_long(words: list[str], longest: int, language: str) -> None:
    found = [piece.text for piece in pieces(" ".join(words), language, longest)]
    assert " ".join(found).split() == words
    assert all(len(piece) <= longest or " " not in piece for piece in found)
    assert all(piece.strip() == piece != "" for piece in found)


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("Dr. Smith has come here. He is old enough.", "en", ["Dr. Smith has come here.", "He is old enough."]),
        ("А. С. Пушкин родился в 1799 г. в Москве. Он поэт, и известный.", "ru",
         ["А. С. Пушкин родился в 1799 г. в Москве.", "Он поэт, и известный."]),
        ("It costs $3.50 in that shop. Is that much money?", "en", ["It costs $3.50 in that shop.", "Is that much money?"]),
        ("No. That is not what she said.", "en", ["No. That is not what she said."]),
        ("\n  \n", "en", []),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_ends_them(text: str, language: str, found: list[str]) -> None:
    assert [piece.text for piece in pieces(text, language, 100)] == found


def test_pauses_follow_the_structure_and_the_last_piece_has_none() -> None:
    text = "The first sentence is here. The second one is very long, so long\nthat it is divided.\n\nA new paragraph."
    assert [(piece.text[:10], piece.pause_s) for piece in pieces(text, "en", 50)] == [
        ("The first ", SENTENCE_S), ("The second", CLAUSE_S), ("so long th", PARAGRAPH_S), ("A new para", 0.0),
    ]  # fmt: skip
