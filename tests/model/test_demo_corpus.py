"""The built-in corpus: the same bytes for the same seed, complete or absent, and every sentence readable."""

import ast
import re
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from model.data import espeak
from model.data.demo import choose, speak_corpus
from model.data.split import split
from model.errors import SpeakingError
from model.text.frontend import encode
from model.text.languages import LANGUAGES, Language, find_language

EN, RU = find_language("en"), find_language("ru")
every_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


def sentences_of(language: Language) -> list[str]:
    return language.sentences.read_text(encoding="utf-8").splitlines()


def contents(corpus: Path) -> dict[str, bytes]:
    return {str(path.relative_to(corpus)): path.read_bytes() for path in corpus.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Language], Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return lambda language: speak_corpus(folder, language, seed=7, utterances=6, kind="general")


@every_language
def test_every_sentence_is_short_and_readable(language: Language) -> None:
    sentences = sentences_of(language)
    assert len(sentences) == len(set(sentences)) >= 340
    for sentence in sentences:
        assert 2 <= len(sentence.split()) <= 6
        assert sentence[-1] in ".?!"
        encoded = encode(sentence, language)
        assert (encoded.text, encoded.dropped) == (sentence.lower(), "")


@every_language
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [100, 360])
def test_matrix_sentences_are_new_and_made_of_known_words(language: Language, seed: int, count: int) -> None:
    """What is held out is in no recording, and every word of it is in some."""
    sentences = choose(language, seed, count, "matrix")
    assert len(set(sentences)) == count
    places = [Counter(words) for words in zip(*(sentence.removesuffix(".").split() for sentence in sentences), strict=True)]
    assert len(places) == len(language.matrix.read_text(encoding="utf-8").splitlines())
    for words in places:
        assert max(words.values()) - min(words.values()) <= 1, "all words of a place are equally frequent"
    ids = [f"demo-{language.code}-{number:04d}" for number in range(1, count + 1)]
    held_out, _ = split(ids, 32, 0)
    trained = {word for place, sentence in enumerate(sentences) if place not in held_out for word in sentence.split()}
    assert all(word in trained for place in held_out for word in sentences[place].split())
    assert all(encode(sentence, language).dropped == "" for sentence in sentences)


@every_language
def test_the_folder_is_laid_out_like_ljspeech(spoken: Callable[[Language], Path], language: Language) -> None:
    corpus, sentences = spoken(language), sentences_of(language)
    rows = [row.split("|") for row in (corpus / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == [f"demo-{language.code}-{number:04d}" for number in range(1, 7)]
    assert all(first == second and first in sentences for _, first, second in rows)
    assert len({text for _, text, _ in rows}) == 6
    assert {path.stem for path in (corpus / "wavs").iterdir()} == {row[0] for row in rows}


def check_sounds(corpus: Path) -> None:
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


@every_language
def test_utterances_are_loud_between_short_margins(spoken: Callable[[Language], Path], language: Language) -> None:
    check_sounds(spoken(language))


@pytest.mark.slow
@every_language
def test_all_sentences_are_loud_between_short_margins(tmp_path: Path, language: Language) -> None:
    check_sounds(speak_corpus(tmp_path, language, 0, len(sentences_of(language)), "general"))


def test_two_processes_at_once_make_the_same_bytes(spoken: Callable[[Language], Path], tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom model.data.demo import speak_corpus\nfrom model.text.languages import find_language\n"
        "speak_corpus(pathlib.Path(sys.argv[1]), find_language('en'), 7, 6, 'general')"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["demo-en-general-7-6-v3"]
    assert contents(tmp_path / "demo-en-general-7-6-v3") == contents(spoken(EN))


def test_another_seed_chooses_other_sentences(spoken: Callable[[Language], Path], tmp_path: Path) -> None:
    other = speak_corpus(tmp_path, EN, seed=8, utterances=6, kind="general")
    assert (other / "metadata.csv").read_bytes() != (spoken(EN) / "metadata.csv").read_bytes()


def test_a_complete_corpus_is_returned_as_it_is(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    corpus = speak_corpus(tmp_path, RU, 0, 3, progress=lambda done, total: calls.append((done, total)))
    written = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert speak_corpus(tmp_path, RU, 0, 3, progress=lambda done, total: calls.append((done, total))) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == written
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_corpus_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speak_corpus(tmp_path, EN, 7, 6, "general", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", ["metadata.csv", "wavs/demo-en-0004.wav"])
def test_an_incomplete_corpus_is_made_again(spoken: Callable[[Language], Path], tmp_path: Path, lost: str) -> None:
    (tmp_path / ".demo-en-general-7-6-v3-killed" / "corpus").mkdir(parents=True)
    corpus = speak_corpus(tmp_path, EN, 7, 6, "general")
    (corpus / lost).unlink()
    assert contents(speak_corpus(tmp_path, EN, 7, 6, "general")) == contents(spoken(EN))


def test_a_long_path_to_the_data_is_no_hindrance(
    spoken: Callable[[Language], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path.joinpath(*["long" * 20] * 5, "espeak-ng-data")
    data.parent.mkdir(parents=True)
    data.symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(data))
    assert contents(speak_corpus(tmp_path / "corpora", EN, 7, 6, "general")) == contents(spoken(EN))


def test_a_broken_library_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "libespeak-ng.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(broken))
    with pytest.raises(SpeakingError, match=rf"{re.escape(str(broken))}.*reinstall the package espeakng-loader"):
        speak_corpus(tmp_path / "corpora", EN, 0, 6)
    assert list((tmp_path / "corpora").iterdir()) == []


def test_an_unknown_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeakingError, match="no voice 'xx-nobody' in espeak-ng"):
        speak_corpus(tmp_path, replace(EN, voice="xx-nobody"), 0, 6)


@pytest.mark.parametrize(("language", "utterances", "rule"), [(EN, 0, "need 1 to"), (RU, 9_999, "got 9999")], ids=["0", "9999"])
def test_more_or_fewer_utterances_than_sentences_are_refused(
    tmp_path: Path, language: Language, utterances: int, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        speak_corpus(tmp_path, language, 0, utterances, "general")


def test_the_child_process_needs_the_standard_library_only() -> None:
    """It runs isolated, where our own packages may not be found."""
    nodes = list(ast.walk(ast.parse(Path(espeak.__file__).read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
