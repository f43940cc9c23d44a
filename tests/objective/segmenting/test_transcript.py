"""Transcripts: what is read leads back to what is written, and subtitles are read."""

import itertools
from pathlib import Path

import pytest

from model.errors import BadInput
from model.text.languages import find_language
from objective.segmenting.transcript import read, read_units, subtitles, transcript

ENGLISH, RUSSIAN = find_language("en"), find_language("ru")
ENDLESS = (0.0, float("inf"))


def pairs(text: str, code: str = "en") -> list[tuple[str, str]]:
    return [(text[unit.start : unit.end], unit.read) for unit in read_units(text, find_language(code))]


def test_a_number_is_one_unit_with_all_its_words() -> None:
    found = pairs("In 1984, he left.")
    assert [written for written, _ in found] == ["In", "1984,", "he", "left."]
    assert dict(found)["1984,"] == "nineteen eighty four"


def test_a_number_and_the_word_that_its_reading_changes_stay_together() -> None:
    assert ("1941 г.", "тысяча девятьсот сорок первом году") in pairs("Это было в 1941 г. летом.", "ru")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('— Well, "said" he — and Dr. Smith paid $1.2m on May 5!', "en"),
        ("At 3:05 p.m. 60 mph; the '60s (so-called) ...", "en"),
        ("— Да, — сказал он, — на 5 книг ушло 1,5 часа.", "ru"),
    ],
)
def test_units_cover_the_text_in_order(text: str, code: str) -> None:
    units = read_units(text, find_language(code))
    assert units[0].start == 0
    assert units[-1].end == len(text)
    assert all(not text[left.end : right.start].strip() for left, right in itertools.pairwise(units))
    assert all(unit.read for unit in units)


def test_what_is_written_comes_back_unchanged() -> None:
    made = transcript([('The  first line,\nwrapped. "Two" — it cost $5!\n\nA new paragraph.', *ENDLESS)], ENGLISH)
    assert made.written(0, len(made.units) - 1) == made.text
    assert made.text == 'The first line, wrapped. "Two" — it cost $5! A new paragraph.'
    assert [made.written(index, index) for index in range(len(made.units)) if made.ends_sentence(index)] == [
        "wrapped.",
        "$5!",
        "paragraph.",
    ]


def test_the_sign_that_separates_columns_is_left_out() -> None:
    assert "|" not in transcript([("one | two|three", *ENDLESS)], ENGLISH).text


def test_subtitles() -> None:
    first = "1\r\n00:00:01,500 --> 00:00:03,000\r\n<i>Hello</i> there,\r\n"
    second = "2\r\n00:01:00,000 --> 01:00:02,250\r\n{\\an8}my\nfriend.\r\n"
    assert subtitles(f"{first}\r\n{second}") == [("Hello there,", 1.5, 3.0), ("my friend.", 60.0, 3602.25)]


def test_a_line_that_the_next_subtitle_repeats_is_said_once() -> None:
    first = "WEBVTT\n\nNOTE a remark\n\n00:01.000 --> 00:02.000 align:left\nfirst line"
    second = "00:02.000 --> 00:03.000\nfirst line\nsecond line\n"
    assert subtitles(f"{first}\n\n{second}") == [("first line", 1.0, 2.0), ("second line", 2.0, 3.0)]


def test_subtitles_far_from_each_other_are_sections_of_their_own() -> None:
    made = transcript([("one two", 0, 2), ("three.", 2.5, 4), ("four", 20, 22)], ENGLISH)
    assert [(section.first, section.last, section.start_s, section.end_s) for section in made.sections] == [
        (0, 3, 0, 4),
        (3, 4, 20, 22),
    ]


def test_bad_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="which is no file"):
        read(tmp_path / "none.txt", ENGLISH)
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(BadInput, match="UTF-8"):
        read(tmp_path / "latin.txt", ENGLISH)
    (tmp_path / "empty.srt").write_text("no cue here")
    with pytest.raises(BadInput, match="no word"):
        read(tmp_path / "empty.srt", ENGLISH)
