"""A corpus is used without its bad lines, or refused; each bad line is reported with its number and its reason."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.data.problems import CorpusError
from tests.model.corpora import BAD_LINE, UTTERANCES, Draft, tone


@pytest.fixture
def draft(tmp_path: Path, recordings: Path) -> Draft:
    return Draft(tmp_path, recordings)


LENGTHS_DIFFER = "text and length do not belong together"
BAD_LINES: dict[str, tuple[str, Callable[[Draft], object]]] = {
    "missing file": ("unreadable sound", lambda draft: draft.insert("wavs/gone.wav|The bad one.")),
    "empty file": ("unreadable sound", lambda draft: draft.insert_file(b"")),
    "web page": ("unreadable sound", lambda draft: draft.insert_file(b"<html>not found</html>")),
    "half a wav": ("unreadable sound", lambda draft: draft.insert_file(draft.first_part(0.5))),
    "half a flac": ("unreadable sound", lambda draft: draft.insert_file(draft.half_a_flac())),
    "not a number": ("unreadable sound", lambda draft: draft.insert_sound(tone() * np.nan, subtype="FLOAT")),
    "folder": ("unreadable sound", Draft.insert_folder),
    "endless name": ("unreadable sound", lambda draft: draft.insert(f"{'long' * 200}.wav|The bad one.")),
    "empty text": ("empty text", lambda draft: draft.insert("wavs/bad.wav|")),
    "text of dots": ("empty text", lambda draft: draft.insert_sound(tone(), text="... ?!")),
    "another alphabet": (
        "characters without a symbol",
        lambda draft: draft.insert_sound(tone(), text="Съешь ещё этих булок."),
    ),
    "one letter of another alphabet": (
        "characters without a symbol",
        lambda draft: draft.insert_sound(tone(), text="The bad one, said the \u0434irector."),
    ),
    "digital silence": ("no sound", lambda draft: draft.insert_sound(0 * tone())),
    "almost silence": ("no sound", lambda draft: draft.insert_sound(1e-3 * tone())),
    "opposite channels": ("no sound", lambda draft: draft.insert_sound(np.stack([tone(), -tone()], axis=1))),
    "clipped": ("clipping", lambda draft: draft.insert_sound(np.clip(4 * tone(), -1, 1))),
    "not scaled": ("clipping", lambda draft: draft.insert_sound(32_768 * tone(), subtype="FLOAT")),
    "too short": ("too short", lambda draft: draft.insert_sound(tone(0.3))),
    "too long": ("too long", lambda draft: draft.insert_sound(tone(20.5), text="The bad one. " * 25)),
    "text too long": ("text too long", lambda draft: draft.insert_sound(tone(), text="The bad one. " * 40)),
    "long text, short sound": (LENGTHS_DIFFER, lambda draft: draft.insert_sound(tone(), text="bad " * 20)),
    "short text, long sound": (LENGTHS_DIFFER, lambda draft: draft.insert_sound(tone(3.0), text="Bad.")),
    "duplicate id": ("duplicate id", lambda draft: draft.insert("wavs/a-03.wav|The bad one.")),
    "duplicate id, other kind": ("duplicate id", lambda draft: draft.insert("wavs/a-03.mp3|The bad one.")),
    "same file, other name": ("same sound twice", lambda draft: draft.insert("a-03.wav|The bad one.")),
    "same content": ("same sound twice", Draft.insert_copy),
    "tab": ("wrong delimiter", lambda draft: draft.insert("wavs/bad.wav\tThe bad one.")),
    "comma": ("wrong delimiter", lambda draft: draft.insert("wavs/bad.wav,The bad one.")),
    "inner byte order mark": ("byte order mark", lambda draft: draft.insert("\ufeffwavs/bad.wav|The bad one.")),
    "cp1251": ("not UTF-8", lambda draft: draft.insert("wavs/bad.wav|Плохая строка.".encode("cp1251"))),
    "no name": ("no file name", lambda draft: draft.insert("|The bad one.")),
    "csv, bare comma": ("wrong columns", lambda draft: draft.insert_rows("wavs/bad.wav,The bad, worse one.")),
    "csv, one column": ("wrong columns", lambda draft: draft.insert_rows("wavs/bad.wav")),
    "csv, stray quote": ("wrong quoting", lambda draft: draft.insert_rows('wavs/bad.wav,"The bad" one.')),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_left_out_counted_and_explained(kind: str, draft: Draft) -> None:
    reason, spoil = BAD_LINES[kind]
    spoil(draft)
    corpus = draft.load()
    assert [(problem.line, problem.reason) for problem in corpus.problems] == [(BAD_LINE, reason)]
    utterances = sorted(utterance.id for utterance in corpus.train + corpus.validation)
    assert utterances == [f"wavs/a-{number:02}" for number in range(UTTERANCES)]
    assert f"1 of {UTTERANCES + 1} lines are left out: 1 {reason}" in corpus.remarks


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_is_left_out(draft: Draft) -> None:
    draft.insert_sound(tone())
    (draft.folder / "wavs/bad.wav").chmod(0)
    assert draft.load().problems[0].detail.endswith("permission denied")


REFUSED: dict[str, tuple[str, Callable[[Draft], object]]] = {
    "two bad lines": (f"2 of {UTTERANCES + 2} lines .* at most 5%", lambda draft: (draft.insert("x|"), draft.insert("y|"))),
    "no sounds": (
        "none of the 24 sounds that .*list.txt names exists, .* holds 0 sounds",
        lambda draft: shutil.rmtree(draft.folder / "wavs"),
    ),
    "colons everywhere": ("24 wrong delimiter", lambda draft: draft.rewrite(lambda line: line.replace("|", ":"))),
    "cp1251 everywhere": ("iconv -f cp1251", lambda draft: draft.rewrite(lambda line: (line + " Да.").encode("cp1251"))),
    "another language": (
        "24 of 24 texts are not in 'en', such as 'Это не тот язык.': set data.language=ru\nproblems: 24 characters",
        lambda draft: draft.rewrite(lambda line: line.split("|")[0] + "|Это не тот язык."),
    ),
    "a lost letter in every line": ("24 characters without a symbol", lambda draft: draft.rewrite(lambda line: line + " 日")),
    "a sign in every line": (r"'★' 24; at most 1%", lambda draft: draft.rewrite(lambda line: line + " ★")),
    "too few": ("need at least 8 utterances .* leaves 4 of 6", lambda draft: draft.lines.__delitem__(slice(6, None))),
    "no line": ("holds no line", lambda draft: draft.lines.clear()),
    "two lists": ("holds 2 lists", lambda draft: (draft.folder / "other.csv").write_text("wavs/a-00.wav|One.")),
    "utf-16": ("is UTF-16", lambda draft: draft.lines.__setitem__(0, "wavs/a-00.wav|One.".encode("utf-16-le"))),
    "no list": ("need a list of recordings", lambda draft: setattr(draft, "list_name", "list.doc")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_unusable_corpus_is_refused_with_its_reason(kind: str, draft: Draft) -> None:
    reason, spoil = REFUSED[kind]
    spoil(draft)
    with pytest.raises(CorpusError, match=reason):
        draft.load()


def test_a_refusal_shows_counts_and_the_first_lines(draft: Draft) -> None:
    draft.lines += [f"wavs/gone-{number}.wav|Gone." for number in range(30)]
    draft.insert("wavs/a-00.wav|Again.")
    with pytest.raises(CorpusError) as caught:
        draft.load()
    rows = str(caught.value).splitlines()
    assert rows[0].startswith(f"31 of {UTTERANCES + 31} lines of {draft.folder}/list.txt are bad, at most 5% may be")
    assert rows[1] == "problems: 30 unreadable sound, 1 duplicate id"
    assert rows[2] == f"  line {BAD_LINE} (wavs/a-00): duplicate id: line 1 has the same id"
    assert rows[3] == f"  line 26 (wavs/gone-0): unreadable sound: {draft.folder}/wavs/gone-0.wav: no such file or directory"
    assert len(rows) == 23
    assert rows[-1] == "  and 11 more"


def test_problems_are_in_the_order_of_the_lines(draft: Draft) -> None:
    draft.insert("no delimiter")
    draft.insert_sound(0 * tone())
    draft.insert("wavs/a-00.wav|???")
    draft.insert("wavs/gone.wav|Gone.")
    problems = draft.load(max_bad_share=0.5).problems
    assert [problem.line for problem in problems] == [8, 9, 10, 11]
    assert [problem.reason for problem in problems] == ["unreadable sound", "duplicate id", "no sound", "wrong delimiter"]


def test_texts_are_checked_before_any_recording_is_analysed(draft: Draft, tmp_path: Path) -> None:
    draft.cache = tmp_path / "untouched"
    draft.lines[:4] = [f"wavs/a-{number:02}.wav|Это тон." for number in range(4)]
    with pytest.raises(CorpusError, match=r"4 of 24 lines .*\nproblems: 4 characters without a symbol"):
        draft.load()
    assert not draft.cache.exists()


def test_a_few_dropped_signs_are_remarked(draft: Draft) -> None:
    draft.lines[5] = str(draft.lines[5]) + " ★"
    remark = next(remark for remark in draft.load().remarks if "no symbol" in remark)
    assert remark.endswith("characters have no symbol in 'en' and are dropped: '★' 1")


def test_corrected_letters_are_remarked(draft: Draft) -> None:
    draft.lines[5] = str(draft.lines[5]).replace("Tone", "T\u043ene")
    corpus = draft.load()
    assert "letters of another alphabet that look alike are corrected in 1 word: 'T\u043ene' 1" in corpus.remarks
    assert {utterance.text for utterance in corpus.train + corpus.validation} >= {"tone five."}


def test_signs_that_cannot_be_seen_cost_nothing(draft: Draft) -> None:
    """As texts from web pages and e-books have them in every line."""
    expected = {utterance.text for utterance in draft.load().train}
    draft.rewrite(lambda line: line.replace("Tone", "\u2060To\u00adne\u200b").replace(" ", "\u00a0"))
    corpus = draft.load()
    assert {utterance.text for utterance in corpus.train} == expected
    assert not [remark for remark in corpus.remarks if "symbol" in remark]
