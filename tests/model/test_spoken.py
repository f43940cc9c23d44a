"""Faults of a spoken sentence: each is found by the right name, and a sentence that is read well has none."""

from dataclasses import replace

import numpy as np
import pytest

from model.spoken import FreeRunning, Spoken, misheard, misread, stop_faults

TEXT = "anna brings six pretty spoons on saturday"
STEP_S, PAUSE_S = 0.035, 0.4  # r = 3 at 11.6 ms
WELL = Spoken("a text.", seconds=2.0, recorded_s=2.0, stop_s=0.0, silence=0.1, heard="a text", errors=0.0, surprise=0.1)


def read(*parts: tuple[float, float], symbols: int = 40, steps_a_symbol: float = 2.0) -> np.ndarray:
    """Return the symbol that each step attends to, for parts of the text read one after the other, as shares of its length."""
    pieces = [
        np.linspace(start * (symbols - 1), end * (symbols - 1), max(2, round(abs(end - start) * symbols * steps_a_symbol)))
        for start, end in parts
    ]
    return np.rint(np.concatenate(pieces)).astype(int)


@pytest.mark.parametrize(
    ("heard", "fault"),
    [
        ("anna brings six pretty", "cut"),
        ("anna brings spoons on saturday", "skipped"),
        ("anna brings six pretty pretty spoons on saturday", "repeated"),
        (f"{TEXT} {TEXT} {TEXT}", "repeated"),
        ("ane brem zit prelu spuns un sedadey", "mumbled"),
        ("", "cut"),
    ],
)
def test_what_was_heard_names_the_fault(heard: str, fault: str) -> None:
    assert misheard(TEXT, heard, understood=False) == [fault]
    assert misheard(TEXT, heard, understood=True) == ([] if fault == "mumbled" else [fault]), "a word counts in any sentence"


def test_a_few_wrong_letters_are_no_fault() -> None:
    assert misheard(TEXT, "ana brinks six prity spoons on saterday", understood=True) == []
    assert misheard(TEXT, TEXT, understood=True) == []


@pytest.mark.parametrize(
    ("positions", "faults"),
    [
        (read((0, 1)), []),
        (read((0, 1), steps_a_symbol=1.0), []),
        (read((0, 0.55)), ["cut"]),
        (read((0, 0.5), (0.2, 1)), ["repeated"]),
        (read((0, 1), (0, 1), (0, 1)), ["repeated"]),
        (read((0, 0.4), (0.65, 1)), ["skipped"]),
        (np.concatenate([read((0, 0.5)), np.full(40, 20), read((0.5, 1))]), ["stuck"]),
        (np.zeros(60, int), ["cut", "stuck"]),
    ],
)
def test_the_attention_names_the_fault(positions: np.ndarray, faults: list[str]) -> None:
    assert misread(positions, 40, STEP_S, PAUSE_S) == faults


def test_an_attention_that_flickers_between_neighbours_has_no_fault() -> None:
    steady = read((0, 1))
    flickering = np.clip(steady + np.random.default_rng(0).integers(-1, 2, len(steady)), 0, 39)
    assert misread(flickering, 40, STEP_S, PAUSE_S) == []


def test_a_stop_is_late_beyond_the_tolerance_and_endless_without_one() -> None:
    assert stop_faults(0.1) == stop_faults(-0.3) == []
    assert stop_faults(0.3) == ["late"]
    assert stop_faults(None) == ["endless"]


def test_one_sentence_said_three_times_counts_like_one_that_is_all_wrong() -> None:
    """Otherwise one long mistake would hide thirty good sentences."""
    thrice = replace(WELL, errors=2.0, faults=("repeated",))
    spoken = FreeRunning((WELL, thrice, WELL, WELL), alignment_score=0.8, mcd_db=6.0, recorded_errors=0.01)
    assert spoken.errors == 0.25
    assert spoken.failures == 0.25
    assert spoken.worst is thrice
    assert spoken.summary()["faults"] == {"repeated": 1}
    assert spoken.middle is spoken.sentences[2]


def test_without_a_listener_nothing_is_claimed_about_what_was_heard() -> None:
    deaf = replace(WELL, heard=None, errors=None, surprise=None)
    late = replace(deaf, faults=("late",))
    spoken = FreeRunning((deaf, late), alignment_score=0.8, mcd_db=6.0)
    assert spoken.errors is None
    assert spoken.surprise is None
    assert spoken.worst is late
