"""A corpus is used whole, without its bad lines, or not at all; and every bad line says its number and its reason."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from model.audio import save
from model.config import Audio
from model.data.corpus import Corpus, Limits, load_corpus
from model.data.mels import open_mel
from model.data.problems import CorpusError
from model.text.languages import Language, find_language

AUDIO = Audio()
EN, RU = find_language("en"), find_language("ru")
GOOD = 24  # utterances of a good corpus: one bad line more is 4 % of the lines
BAD_LINE = 8  # where a bad line is put in


def tone(seconds: float = 0.5, hertz: float = 310.0, rate_hz: int = AUDIO.rate_hz) -> np.ndarray:
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """wavs/a-00.wav ... wavs/a-23.wav, 0.5 s to 0.73 s long, and their mels in cache/."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "wavs").mkdir()
    for number in range(GOOD):
        save(folder / f"wavs/a-{number:02}.wav", tone(0.5 + 0.01 * number, 200 + 20 * number), AUDIO)
    return folder


class Draft:
    """A corpus to spoil before it is written and loaded."""

    def __init__(self, folder: Path, good: Path) -> None:
        self.folder, self.cache = folder, good / "cache"
        shutil.copytree(good / "wavs", folder / "wavs")
        self.lines: list[str | bytes] = [f"wavs/a-{number:02}.wav|Tone {number}." for number in range(GOOD)]
        self.list_name = "list.txt"

    def insert(self, line: str | bytes) -> None:
        self.lines.insert(BAD_LINE - 1, line)

    def sound(self, wave: np.ndarray, text: str = "The bad one.", rate_hz: int = AUDIO.rate_hz, **format: Any) -> None:
        """A further utterance, wavs/bad.wav, at the bad line."""
        soundfile.write(self.folder / "wavs/bad.wav", wave, rate_hz, **format)
        self.insert(f"wavs/bad.wav|{text}")

    def content(self, content: bytes) -> None:
        (self.folder / "wavs/bad.wav").write_bytes(content)
        self.insert("wavs/bad.wav|The bad one.")

    def as_csv(self, bad_rows: str) -> None:
        """The same under a header; the bad rows keep their line number."""
        self.lines = ["path,text", *(str(line).replace("|", ",") for line in self.lines)]
        self.insert(bad_rows)

    def load(self, language: Language = EN, **changes: Any) -> Corpus:
        written = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in self.lines)
        (self.folder / self.list_name).write_bytes(written)
        return load_corpus(self.folder, language, AUDIO, self.cache, Limits(**changes), validation=3, seed=0)


@pytest.fixture
def draft(tmp_path: Path, good: Path) -> Draft:
    return Draft(tmp_path, good)


def first(draft: Draft, share: float) -> bytes:
    """The first part of a good recording."""
    content = (draft.folder / "wavs/a-00.wav").read_bytes()
    return content[: int(share * len(content))]


def flac(draft: Draft) -> bytes:
    soundfile.write(draft.folder / "whole.flac", tone(2.0), AUDIO.rate_hz)
    return (draft.folder / "whole.flac").read_bytes()[:5_000]


def copy(draft: Draft) -> None:
    shutil.copy(draft.folder / "wavs/a-03.wav", draft.folder / "wavs/copy.wav")
    draft.insert("wavs/copy.wav|The bad one.")


def folder_for_a_file(draft: Draft) -> None:
    (draft.folder / "wavs/bad.wav").mkdir()
    draft.insert("wavs/bad.wav|The bad one.")


BAD_LINES: dict[str, tuple[str, Callable[[Draft], object]]] = {
    "missing file": ("unreadable sound", lambda draft: draft.insert("wavs/gone.wav|The bad one.")),
    "empty file": ("unreadable sound", lambda draft: draft.content(b"")),
    "web page": ("unreadable sound", lambda draft: draft.content(b"<html>not found</html>")),
    "half a wav": ("unreadable sound", lambda draft: draft.content(first(draft, 0.5))),
    "half a flac": ("unreadable sound", lambda draft: draft.content(flac(draft))),
    "not a number": ("unreadable sound", lambda draft: draft.sound(tone() * np.nan, subtype="FLOAT")),
    "folder": ("unreadable sound", folder_for_a_file),
    "endless name": ("unreadable sound", lambda draft: draft.insert(f"{'long' * 200}.wav|The bad one.")),
    "empty text": ("empty text", lambda draft: draft.insert("wavs/bad.wav|")),
    "text of dots": ("empty text", lambda draft: draft.sound(tone(), text="... ?!")),
    "another alphabet": ("characters without a symbol", lambda draft: draft.sound(tone(), text="Съешь ещё этих булок.")),
    "digital silence": ("no sound", lambda draft: draft.sound(0 * tone())),
    "almost silence": ("no sound", lambda draft: draft.sound(1e-3 * tone())),
    "opposite channels": ("no sound", lambda draft: draft.sound(np.stack([tone(), -tone()], axis=1))),
    "clipped": ("clipping", lambda draft: draft.sound(np.clip(4 * tone(), -1, 1))),
    "not scaled": ("clipping", lambda draft: draft.sound(32_768 * tone(), subtype="FLOAT")),
    "too short": ("too short", lambda draft: draft.sound(tone(0.3))),
    "too long": ("too long", lambda draft: draft.sound(tone(20.5), text="The bad one. " * 25)),
    "text too long": ("text too long", lambda draft: draft.sound(tone(), text="The bad one. " * 40)),
    "long text, short sound": ("text and length do not belong together", lambda draft: draft.sound(tone(), text="bad " * 20)),
    "short text, long sound": ("text and length do not belong together", lambda draft: draft.sound(tone(3.0), text="Bad.")),
    "duplicate id": ("duplicate id", lambda draft: draft.insert("wavs/a-03.wav|The bad one.")),
    "duplicate id, other kind": ("duplicate id", lambda draft: draft.insert("wavs/a-03.mp3|The bad one.")),
    "same file, other name": ("same sound twice", lambda draft: draft.insert("a-03.wav|The bad one.")),
    "same content": ("same sound twice", copy),
    "tab": ("wrong delimiter", lambda draft: draft.insert("wavs/bad.wav\tThe bad one.")),
    "comma": ("wrong delimiter", lambda draft: draft.insert("wavs/bad.wav,The bad one.")),
    "inner byte order mark": ("byte order mark", lambda draft: draft.insert("\ufeffwavs/bad.wav|The bad one.")),
    "cp1251": ("not UTF-8", lambda draft: draft.insert("wavs/bad.wav|Плохая строка.".encode("cp1251"))),
    "no name": ("no file name", lambda draft: draft.insert("|The bad one.")),
    "csv, bare comma": ("wrong columns", lambda draft: draft.as_csv("wavs/bad.wav,The bad, worse one.")),
    "csv, one column": ("wrong columns", lambda draft: draft.as_csv("wavs/bad.wav")),
    "csv, stray quote": ("wrong quoting", lambda draft: draft.as_csv('wavs/bad.wav,"The bad" one.')),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_left_out_counted_and_explained(kind: str, draft: Draft) -> None:
    reason, spoil = BAD_LINES[kind]
    spoil(draft)
    corpus = draft.load()
    assert [(problem.line, problem.reason) for problem in corpus.problems] == [(BAD_LINE, reason)]
    assert sorted(utterance.id for utterance in corpus.train + corpus.validation) == [f"wavs/a-{n:02}" for n in range(GOOD)]
    assert f"1 of {GOOD + 1} lines are left out: 1 {reason}" in corpus.remarks


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_is_left_out(draft: Draft) -> None:
    draft.sound(tone())
    (draft.folder / "wavs/bad.wav").chmod(0)
    assert draft.load().problems[0].detail.endswith("permission denied")


def without_sounds(draft: Draft) -> None:
    shutil.rmtree(draft.folder / "wavs")


def with_dashes(draft: Draft) -> None:
    draft.lines = [str(line) + " 日" for line in draft.lines]


def rewritten(change: Callable[[str], str | bytes]) -> Callable[[Draft], None]:
    def spoil(draft: Draft) -> None:
        draft.lines = [change(str(line)) for line in draft.lines]

    return spoil


REFUSED: dict[str, tuple[str, Callable[[Draft], object]]] = {
    "two bad lines": (f"2 of {GOOD + 2} lines .* at most 5%", lambda draft: (draft.insert("x|"), draft.insert("y|"))),
    "no sounds": ("24 unreadable sound", without_sounds),
    "commas everywhere": ("24 wrong delimiter", rewritten(lambda line: line.replace("|", ","))),
    "cp1251 everywhere": ("iconv -f cp1251", rewritten(lambda line: (line + " Да.").encode("cp1251"))),
    "texts first": ("24 unreadable sound", rewritten(lambda line: "|".join(reversed(line.split("|"))))),
    "another language": ("24 characters without a symbol", rewritten(lambda line: line.split("|")[0] + "|Это не тот язык.")),
    "a lost letter in every line": (r"'日' 24; at most 1%", rewritten(lambda line: line + " 日")),
    "too few": ("need at least 8 utterances .* leaves 4 of 6", lambda draft: draft.lines.__delitem__(slice(6, None))),
    "no line": ("holds no line", lambda draft: draft.lines.clear()),
    "two lists": ("holds 2 lists", lambda draft: (draft.folder / "other.csv").touch()),
    "utf-16": ("is UTF-16", lambda draft: draft.lines.__setitem__(0, "\ufeffwavs/a-00.wav|One.".encode("utf-16-le"))),
    "no list": ("need a list of recordings", lambda draft: setattr(draft, "list_name", "list.doc")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_corpus_that_cannot_be_used_is_refused_with_its_reason(kind: str, draft: Draft) -> None:
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
    assert rows[0].startswith(f"31 of {GOOD + 31} lines of {draft.folder}/list.txt are bad, at most 5% may be")
    assert rows[1] == "problems: 30 unreadable sound, 1 duplicate id"
    assert rows[2] == f"  line {BAD_LINE} (wavs/a-00): duplicate id: line 1 has the same id"
    assert rows[3] == f"  line 26 (wavs/gone-0): unreadable sound: {draft.folder}/wavs/gone-0.wav: no such file or directory"
    assert len(rows) == 23
    assert rows[-1] == "  and 11 more"


def test_problems_stand_in_the_order_of_the_lines(draft: Draft) -> None:
    draft.insert("no delimiter")
    draft.sound(0 * tone())
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


def test_a_few_lost_characters_are_said(draft: Draft) -> None:
    draft.lines[5] = str(draft.lines[5]) + " 日"
    remark = next(remark for remark in draft.load().remarks if "no symbol" in remark)
    assert remark.endswith("characters have no symbol in 'en' and are dropped: '日' 1")


def test_the_corpus_holds_what_the_list_says(draft: Draft) -> None:
    corpus = draft.load()
    assert (len(corpus.train), len(corpus.validation), corpus.language) == (21, 3, EN)
    assert not {utterance.id for utterance in corpus.train} & {utterance.id for utterance in corpus.validation}
    utterance = next(utterance for utterance in corpus.train + corpus.validation if utterance.id == "wavs/a-07")
    assert utterance.text == "tone seven."
    assert len(utterance.ids) == len(utterance.text)
    assert utterance.sound.frames == AUDIO.frames(len(tone(0.57)))
    mels = np.concatenate([open_mel(utterance.sound) for utterance in corpus.train])
    assert corpus.mel_mean == pytest.approx(mels.mean(dtype=np.float64))
    assert corpus.mel_std == pytest.approx(mels.std(dtype=np.float64))


def test_the_same_files_and_seed_give_the_same_corpus(draft: Draft, tmp_path: Path) -> None:
    corpus = draft.load()
    assert draft.load() == corpus
    draft.cache = tmp_path / "cold"
    cold = draft.load()
    assert [utterance.id for utterance in cold.validation] == [utterance.id for utterance in corpus.validation]
    assert (cold.mel_mean, cold.mel_std) == (corpus.mel_mean, corpus.mel_std)
    assert load_corpus(tmp_path, EN, AUDIO, draft.cache, Limits(), 3, seed=1).validation != cold.validation


def test_whole_recordings_validate(draft: Draft) -> None:
    for number in range(GOOD):
        (draft.folder / f"wavs/a-{number:02}.wav").rename(draft.folder / f"wavs/B{number // 3}-{number % 3}.wav")
    draft.lines = [f"B{number // 3}-{number % 3}.wav|Tone {number}." for number in range(GOOD)]
    corpus = draft.load()
    assert len({utterance.id.split("-")[0] for utterance in corpus.validation}) == 1
    assert len(corpus.validation) == 3


def test_kinds_rates_and_channels_may_be_mixed_and_are_said_once(draft: Draft) -> None:
    for number, (suffix, rate_hz, channels) in enumerate((("flac", 44_100, 1), ("ogg", 44_100, 2), ("mp3", 16_000, 1))):
        (draft.folder / f"wavs/a-{number:02}.wav").unlink()
        wave = np.stack([tone(0.6, 700 + number, rate_hz)] * channels, axis=1)
        soundfile.write(draft.folder / f"wavs/a-{number:02}.{suffix}", wave, rate_hz)
        draft.lines[number] = f"wavs/a-{number:02}.{suffix}|Tone {number}."
    corpus = draft.load()
    assert corpus.problems == ()
    assert "3 of 24 recordings are resampled to 22050 Hz, from 16000 Hz (1), 44100 Hz (2)" in corpus.remarks
    assert "1 of 24 recordings are mixed down to one channel" in corpus.remarks


def test_russian_names_and_texts_in_any_folder(tmp_path: Path, good: Path) -> None:
    draft = Draft(tmp_path / "мой голос ü", good)
    for number in range(GOOD):
        (draft.folder / f"wavs/a-{number:02}.wav").rename(draft.folder / f"wavs/ёж-{number}.wav")
    draft.lines = [unicodedata.normalize("NFD", f"wavs/ёж-{number}.wav|Это ёж, мой д+ом.") for number in range(GOOD)]
    corpus = draft.load(language=RU)
    assert corpus.problems == ()
    assert {utterance.text for utterance in corpus.train} == {"это ёж, мой д+ом."}


def test_a_relative_folder_is_the_same_corpus(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = draft.load()
    monkeypatch.chdir(draft.folder)
    relative = load_corpus(Path(), EN, AUDIO, draft.cache, Limits(), 3, seed=0)
    assert relative.train == corpus.train


def test_progress_counts_every_recording(draft: Draft) -> None:
    draft.load()
    calls: list[tuple[int, int]] = []
    load_corpus(draft.folder, EN, AUDIO, draft.cache, Limits(), 3, seed=0, progress=lambda *call: calls.append(call))
    assert calls == [(done, GOOD) for done in range(1, GOOD + 1)]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"min_seconds": 30.0}, "min_seconds < max_seconds"),
        ({"min_seconds_per_symbol": -1.0}, "min_seconds_per_symbol < max_seconds_per_symbol"),
        ({"max_bad_share": 5.0}, "max_bad_share is a share"),
        ({"min_train": 0}, "min_train >= 1"),
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(change: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(Limits(), **change)
