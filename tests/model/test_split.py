"""The split: its size, complete recordings, and its dependence on the seed only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.split import recording, split


@pytest.mark.parametrize(
    ("id", "source"),
    [
        ("LJ001-0001", "LJ001"),
        ("wavs/LJ001-0001", "wavs/LJ001"),
        ("84_121123_000007_000001", "84_121123_000007"),
        ("книга/017", "книга"),
        ("000017_RUSLAN", "000017_RUSLAN"),
        ("17", "17"),
    ],
)
def test_an_id_names_its_recording(id: str, source: str) -> None:
    assert recording(id) == source


def ids_of(sizes: list[int]) -> list[str]:
    return [f"LJ{book:03}-{piece:04}" for book, size in enumerate(sizes) for piece in range(size)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 50), st.integers(0, 9))
def test_the_validation_set_is_small_and_depends_on_the_seed_only(sizes: list[int], wanted: int, seed: int) -> None:
    ids = ids_of(sizes)
    chosen, remarks = split(ids, wanted, seed)
    assert split(ids, wanted, seed) == (chosen, remarks)
    assert chosen <= set(range(len(ids)))
    assert 1 <= len(chosen) <= max(2, len(ids) / 4)
    if "at random" not in remarks[-1]:
        inside = {recording(ids[position]) for position in chosen}
        outside = {recording(id) for position, id in enumerate(ids) if position not in chosen}
        assert not inside & outside
        assert "complete recordings of" in remarks[-1]
    else:
        assert len(chosen) <= wanted


def test_complete_recordings_come_close_to_the_wanted_size() -> None:
    chosen, remarks = split(ids_of([10] * 40), wanted=32, seed=0)
    assert len(chosen) == 30
    assert split(ids_of([10] * 40), wanted=32, seed=1)[0] != chosen
    assert remarks[0].startswith("validation: 30 utterances, 3 complete recordings of 40 (LJ")


def test_the_smallest_recording_is_held_out_if_all_are_larger_than_wanted() -> None:
    chosen, _ = split(ids_of([300] * 9 + [88]), wanted=32, seed=0)
    assert chosen == frozenset(range(2_700, 2_788))


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ([100], "do not show several"),
        ([1] * 100, "do not show several"),
        ([90, 70], "held out completely"),
        ([2, 300], "held out completely"),
    ],
    ids=["one", "all different", "two halves", "one crumb"],
)
def test_without_usable_recordings_the_split_is_random_and_remarks_it(sizes: list[int], why: str) -> None:
    chosen, remarks = split(ids_of(sizes), wanted=10, seed=3)
    assert len(chosen) == 10
    assert remarks == (f"validation: 10 utterances drawn at random with seed 3, as {remarks[0].split(', as ')[1]}",)
    assert why in remarks[0]
    assert split(ids_of(sizes), wanted=10, seed=4)[0] != chosen


def test_a_small_corpus_spares_an_eighth_and_remarks_it() -> None:
    chosen, remarks = split(ids_of([32]), wanted=32, seed=0)
    assert len(chosen) == 4
    assert remarks[0] == "32 utterances were requested for validation, a corpus of 32 can spare 4"
    assert len(split(ids_of([9]), wanted=32, seed=0)[0]) == 2


def test_an_empty_validation_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 utterance"):
        split(ids_of([32]), wanted=0, seed=0)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.integers(1, 50), st.integers(2, 99), st.booleans())
def test_no_sentence_is_on_both_sides(sizes: list[int], wanted: int, different: int, recordings: bool) -> None:
    ids = ids_of(sizes) if recordings else [str(position) for position in range(sum(sizes))]
    texts = [f"Sentence {position * position % different}!" for position in range(len(ids))]
    chosen, _ = split(ids, wanted, 0, texts)
    assert split(ids, wanted, 0, texts)[0] == chosen
    assert chosen
    if len(set(texts)) > 1:
        trained = {texts[position] for position in range(len(ids)) if position not in chosen}
        assert not trained & {texts[position] for position in chosen}


def test_different_sentences_do_not_change_the_split() -> None:
    """So that the fingerprint of a corpus stays what it was."""
    for sizes in ([10] * 40, [100], [90, 70]):
        texts = [f"Number {position}." for position in range(sum(sizes))]
        assert split(ids_of(sizes), 32, 0, texts) == split(ids_of(sizes), 32, 0)


def test_a_few_shared_sentences_leave_complete_recordings() -> None:
    """Each of 40 recordings begins with the same words."""
    texts = [f"Number {position}." if position % 10 else "Chapter." for position in range(400)]
    chosen, remarks = split(ids_of([10] * 40), 32, 0, texts)
    assert len(chosen) == 27
    assert "3 complete recordings of 40" in remarks[0]
    assert remarks[0].endswith("; 3 more are trained on, as others say the same")


def test_speakers_who_say_the_same_are_split_by_sentences() -> None:
    texts = [f"Sentence {position % 10}." for position in range(400)]
    chosen, remarks = split(ids_of([10] * 40), 40, 0, texts)
    assert len(chosen) == 40, "one of the ten sentences, which all 40 say"
    assert remarks[-1].endswith("as recordings share their sentences: one may be on both sides")
    assert {position % 10 for position in chosen} == {min(chosen) % 10}
