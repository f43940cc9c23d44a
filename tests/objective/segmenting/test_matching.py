"""Matching what was heard with a transcript: a hole costs what lies beside it, and shifts nothing else."""

import random

from objective.segmenting.matching import Block, anchors, blocks, joints

WORDS = [
    "printing",
    "differs",
    "from",
    "most",
    "other",
    "crafts",
    "because",
    "letters",
    "follow",
    "closely",
    "those",
    "written",
    "character",
    "beautiful",
    "forms",
    "which",
    "middle",
    "ages",
    "brought",
    "perfection",
    "before",
    "anyone",
    "invented",
    "movable",
    "metal",
    "types",
    "netherlands",
    "process",
    "chinese",
    "impressions",
    "carved",
    "relief",
    "wooden",
    "blocks",
    "engraved",
    "centuries",
    "similar",
    "exhibition",
    "present",
    "concerned",
]
SPAN = 4  # words


def heard_of(words: list[str]) -> tuple[str, list[int]]:
    return "".join(words), [index // SPAN for index, word in enumerate(words) for _ in word]


def blocks_of(said: list[str], written: list[str]) -> tuple[list[Block], dict[int, int]]:
    heard, spans = heard_of(said)
    found = anchors(heard, spans, written)
    return blocks(found, heard, spans, written), joints(found)


def test_equal_texts_are_one_block_with_every_joint() -> None:
    found, certain = blocks_of(WORDS, WORDS)
    assert found == [Block(0, len(WORDS) - 1, 0, (len(WORDS) - 1) // SPAN)]
    assert certain == {span: SPAN * (span + 1) for span in range((len(WORDS) - 1) // SPAN)}


def test_a_sentence_missing_in_the_sound_ends_a_block() -> None:
    found, certain = blocks_of(WORDS[:12] + WORDS[20:], WORDS)
    assert found == [Block(0, 11, 0, 2), Block(20, len(WORDS) - 1, 3, (len(WORDS) - 9) // SPAN)]
    assert certain[1] == 8
    assert certain[3] == 24
    assert 2 not in certain


def test_a_sentence_missing_in_the_text_leaves_its_speech_without_text() -> None:
    written = WORDS[:12] + WORDS[20:]
    found, _ = blocks_of(WORDS, written)
    assert found == [Block(0, 11, 0, 2), Block(12, len(written) - 1, 5, (len(WORDS) - 1) // SPAN)]


def test_another_text_has_no_block_of_any_length() -> None:
    draw = random.Random(0)
    said = ["".join(draw.choice("aeioutnsrhldcm") for _ in range(6)) for _ in range(40)]
    found, _ = blocks_of(said, WORDS)
    assert sum(block.last_unit - block.first_unit + 1 for block in found) <= 4


def test_misheard_words_do_not_end_a_block() -> None:
    said = [word if index % 5 else "x" * len(word) for index, word in enumerate(WORDS)]
    found, _ = blocks_of(said, WORDS)
    assert [(block.first_unit, block.last_unit) for block in found] == [(0, len(WORDS) - 1)]


def test_nothing_heard_is_no_block() -> None:
    assert blocks([], "", [], WORDS) == []


def test_a_hole_begins_and_ends_with_a_clause() -> None:
    """A short word at its edge is as likely heard by chance."""
    written = [*WORDS[:12], "the", *WORDS[12:20], *WORDS[20:]]
    said = [*WORDS[:11], WORDS[11] + "thx", *WORDS[20:]]
    heard, spans = heard_of(said)
    found = anchors(heard, spans, written)
    assert blocks(found, heard, spans, written, {11, 20})[0].last_unit == 11
    assert blocks(found, heard, spans, written, {11, 20})[1].first_unit == 21
