"""The built-in corpus: the same bytes for the same seed, whole or not there at all, and every sentence readable."""

import re
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

import model.data.demo as demo
from model.data.demo import speak_corpus
from model.text.frontend import encode
from model.text.symbols import LANGUAGES

SENTENCES = {
    language: Path(demo.__file__).with_name("sentences").joinpath(f"{language}.txt").read_text(encoding="utf-8").splitlines()
    for language in LANGUAGES
}


def contents(corpus: Path) -> dict[str, bytes]:
    return {str(path.relative_to(corpus)): path.read_bytes() for path in corpus.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return lambda language: speak_corpus(folder, language, seed=7, utterances=6)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_short_and_readable(language: str) -> None:
    sentences = SENTENCES[language]
    assert len(sentences) == len(set(sentences)) >= 340
    for sentence in sentences:
        assert 2 <= len(sentence.split()) <= 6
        assert sentence[-1] in ".?!"
        encoded = encode(sentence, language)
        assert (encoded.text, encoded.dropped) == (sentence.lower(), "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_layout_is_that_of_ljspeech(spoken: Callable[[str], Path], language: str) -> None:
    corpus = spoken(language)
    rows = [row.split("|") for row in (corpus / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == [f"demo-{language}-{number:04d}" for number in range(1, 7)]
    assert all(first == second and first in SENTENCES[language] for _, first, second in rows)
    assert len({text for _, text, _ in rows}) == 6
    assert {path.stem for path in (corpus / "wavs").iterdir()} == {row[0] for row in rows}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_sounds_between_short_margins(tmp_path: Path, language: str) -> None:
    corpus = speak_corpus(tmp_path, language, 0, len(SENTENCES[language]))
    for path in (corpus / "wavs").iterdir():
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
            sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32_768
        assert np.sqrt(np.mean(sound**2)) > 0.02
        assert 0.1 < np.abs(sound).max() < 0.98  # loud, and not clipped
        loud = np.flatnonzero(np.abs(sound) > 0.004) / 22_050  # seconds
        assert loud[0] == pytest.approx(0.025, abs=0.002)
        assert len(sound) / 22_050 - loud[-1] == pytest.approx(0.050, abs=0.005)
        assert 0.4 < len(sound) / 22_050 < 3


def test_two_processes_at_once_make_the_same_bytes(spoken: Callable[[str], Path], tmp_path: Path) -> None:
    code = "import sys, pathlib, model.data.demo as demo; demo.speak_corpus(pathlib.Path(sys.argv[1]), 'en', 7, 6)"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["demo-en-7-6-v1"]
    assert contents(tmp_path / "demo-en-7-6-v1") == contents(spoken("en"))


def test_another_seed_speaks_other_sentences(spoken: Callable[[str], Path], tmp_path: Path) -> None:
    other = speak_corpus(tmp_path, "en", seed=8, utterances=6)
    assert (other / "metadata.csv").read_bytes() != (spoken("en") / "metadata.csv").read_bytes()


def test_a_complete_corpus_is_returned_as_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    corpus = speak_corpus(tmp_path, "ru", 0, 3, progress=lambda done, total: told.append((done, total)))
    written = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert speak_corpus(tmp_path, "ru", 0, 3, progress=lambda done, total: told.append((done, total))) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == written
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_corpus_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speak_corpus(tmp_path, "en", 7, 6, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", ["metadata.csv", "wavs/demo-en-0004.wav"])
def test_an_incomplete_corpus_is_made_again(spoken: Callable[[str], Path], tmp_path: Path, lost: str) -> None:
    (tmp_path / ".demo-en-7-6-v1-killed" / "corpus").mkdir(parents=True)
    corpus = speak_corpus(tmp_path, "en", 7, 6)
    (corpus / lost).unlink()
    assert contents(speak_corpus(tmp_path, "en", 7, 6)) == contents(spoken("en"))


def test_a_long_path_to_the_data_is_no_hindrance(
    spoken: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path.joinpath(*["long" * 20] * 5, "espeak-ng-data")
    data.parent.mkdir(parents=True)
    data.symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(data))
    assert contents(speak_corpus(tmp_path / "corpora", "en", 7, 6)) == contents(spoken("en"))


def test_a_broken_library_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "libespeak-ng.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(broken))
    with pytest.raises(RuntimeError, match=rf"{re.escape(str(broken))}.*reinstall the package espeakng-loader"):
        speak_corpus(tmp_path / "corpora", "en", 0, 6)
    assert list((tmp_path / "corpora").iterdir()) == []


@pytest.mark.parametrize(
    ("language", "utterances", "rule"), [("de", 6, "en, ru, got 'de'"), ("en", 0, "need 1 to"), ("ru", 9_999, "got 9999")]
)
def test_what_cannot_be_spoken_is_refused(tmp_path: Path, language: str, utterances: int, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        speak_corpus(tmp_path, language, 0, utterances)
