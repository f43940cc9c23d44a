"""Segmenting a recording whose words are known: what is kept has its own text, and a hole costs its neighbours nothing."""

from pathlib import Path

from model.text.languages import find_language
from objective.segmenting.program import judged
from objective.segmenting.segmenting import Piece, Segmented, segment
from objective.segmenting.transcript import transcript
from tests.objective.segmenting.oracle import speak

ENGLISH = find_language("en")
PHRASES = [
    "printing differs from most other crafts",
    "because letters follow those written characters",
    "beautiful forms which the middle ages brought to perfection",
    "before anyone invented movable metal types",
    "the chinese took impressions from wooden blocks",
    "engraved in relief for many centuries before",
    "a similar process was known in the netherlands",
    "and the present exhibition is concerned with that",
]
ENDLESS = (0.0, float("inf"))


def cut(
    path: Path, said: list[str], parts: list[tuple[str, float, float]], misheard: dict[str, str] | None = None
) -> Segmented:
    recording, spans, oracle = speak(said, path / "said.wav", misheard)
    return segment(recording, spans, transcript(parts, ENGLISH), oracle, 1.0, 6.0, lambda what, done, total: None)


def written(phrases: list[str]) -> list[tuple[str, float, float]]:
    return [("\n".join(f"{phrase.capitalize()}." for phrase in phrases), *ENDLESS)]


def kept(found: Segmented) -> list[Piece]:
    return [piece for piece in judged(found.pieces, None)[1] if not piece.reason]


def test_every_phrase_is_kept_with_its_own_text_as_written(tmp_path: Path) -> None:
    found = kept(cut(tmp_path, PHRASES, written(PHRASES)))
    assert " ".join(piece.text for piece in found) == written(PHRASES)[0][0].replace("\n", " ")
    assert all(piece.text.lower().replace(".", "") == piece.heard for piece in found)
    assert all(piece.error == 0 for piece in found)


def test_a_sentence_missing_in_the_text_is_refused_alone(tmp_path: Path) -> None:
    found = cut(tmp_path, PHRASES, written(PHRASES[:4] + PHRASES[5:]))
    assert [piece.heard for piece in found.pieces if piece.reason] == [PHRASES[4]]
    assert " ".join(piece.heard for piece in kept(found)) == " ".join(PHRASES[:4] + PHRASES[5:])
    assert found.unheard == ()


def test_a_sentence_missing_in_the_sound_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    found = cut(tmp_path, PHRASES[:4] + PHRASES[5:], written(PHRASES))
    assert found.unheard == ("The chinese took impressions from wooden blocks.",)
    assert all(piece.text.lower().replace(".", "") == piece.heard for piece in kept(found))
    assert " ".join(piece.heard for piece in kept(found)) == " ".join(PHRASES[:4] + PHRASES[5:])


def test_a_number_keeps_its_spelling(tmp_path: Path) -> None:
    said = [*PHRASES[:3], "in nineteen eighty four they stopped", *PHRASES[3:]]
    text = written([*PHRASES[:3], "in 1984, they stopped", *PHRASES[3:]])
    found = kept(cut(tmp_path, said, text))
    assert any("In 1984, they stopped." in piece.text and "nineteen eighty four" in piece.heard for piece in found)


def test_a_cut_that_was_not_understood_is_refused(tmp_path: Path) -> None:
    misheard = {"engraved": "uvxyuvxy", "relief": "zzqzzq", "centuries": "kwkwkwkwk"}
    found = cut(tmp_path, PHRASES, written(PHRASES), misheard)
    refused = [piece for piece in judged(found.pieces, None)[1] if piece.reason]
    assert [piece.text for piece in refused] == ["Engraved in relief for many centuries before."]
    assert "heard otherwise" in refused[0].reason


def test_another_text_keeps_nothing(tmp_path: Path) -> None:
    found = cut(tmp_path, PHRASES, [("Kwik zuvo hyxu. " * 20, *ENDLESS)])
    assert kept(found) == []


def test_subtitles_tell_apart_what_is_said_twice_and_what_nobody_wrote(tmp_path: Path) -> None:
    _, spans, _ = speak([*PHRASES, *PHRASES[:2]], tmp_path / "times.wav")
    cues = [(f"{PHRASES[at].capitalize()}.", spans[at].start_s + 0.7, spans[at].end_s + 0.7) for at in (0, 1)]
    last = [(f"{PHRASES[at].capitalize()}.", spans[8 + at].start_s - 0.7, spans[8 + at].end_s - 0.7) for at in (0, 1)]
    found = cut(tmp_path, [*PHRASES, *PHRASES[:2]], [*cues, *last])
    assert {piece.heard for piece in kept(found)} == set(PHRASES[:2])
    assert len(kept(found)) == 4
    assert all(piece.reason for piece in found.pieces if spans[2].start_s < piece.start_s < spans[7].start_s)
