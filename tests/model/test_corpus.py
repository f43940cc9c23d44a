"""A loaded corpus holds what its list says, depends on files, settings and seed only, and accepts mixed kinds of sound."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data.corpus import load_corpus
from model.data.limits import Limits
from model.data.mels import open_mel
from model.data.problems import CorpusError
from tests.model.corpora import AUDIO, EN, RU, UTTERANCES, Draft, tone


@pytest.fixture
def draft(tmp_path: Path, recordings: Path) -> Draft:
    return Draft(tmp_path, recordings)


def test_the_corpus_holds_what_its_list_says(draft: Draft) -> None:
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


def test_complete_source_recordings_are_held_out(draft: Draft) -> None:
    for number in range(UTTERANCES):
        (draft.folder / f"wavs/a-{number:02}.wav").rename(draft.folder / f"wavs/B{number // 3}-{number % 3}.wav")
    draft.lines = [f"B{number // 3}-{number % 3}.wav|Tone {number}." for number in range(UTTERANCES)]
    corpus = draft.load()
    assert len({utterance.id.split("-")[0] for utterance in corpus.validation}) == 1
    assert len(corpus.validation) == 3


def test_an_equal_sentence_is_on_one_side_of_the_split(draft: Draft) -> None:
    draft.lines = [f"wavs/a-{number:02}.wav|Tone {number // 2}{'?!'[number % 2]}" for number in range(UTTERANCES)]
    corpus = draft.load()
    sides = [{utterance.text.rstrip("?!") for utterance in side} for side in (corpus.train, corpus.validation)]
    assert not sides[0] & sides[1]
    assert len(corpus.validation) == 2
    assert "24 of 24 recordings have the same text as another one: equal texts are on one side of the split" in corpus.remarks


def test_recordings_of_one_sentence_are_refused(draft: Draft) -> None:
    draft.rewrite(lambda line: line.split("|")[0] + "|The same every time.")
    with pytest.raises(
        CorpusError, match=r"24 of 24 of .*list.txt have the same text, 'the same every time': is this the column"
    ):
        draft.load()


def test_kinds_rates_and_channels_may_be_mixed_and_are_remarked_once(draft: Draft) -> None:
    for number, (suffix, rate_hz, channels) in enumerate((("flac", 44_100, 1), ("ogg", 44_100, 2), ("mp3", 16_000, 1))):
        (draft.folder / f"wavs/a-{number:02}.wav").unlink()
        wave = np.stack([tone(0.6, 700 + number, rate_hz)] * channels, axis=1)
        soundfile.write(draft.folder / f"wavs/a-{number:02}.{suffix}", wave, rate_hz)
        draft.lines[number] = f"wavs/a-{number:02}.{suffix}|Tone {number}."
    corpus = draft.load()
    assert corpus.problems == ()
    assert "3 of 24 recordings are resampled to 22050 Hz, from 16000 Hz (1), 44100 Hz (2)" in corpus.remarks
    assert "1 of 24 recordings are mixed down to one channel" in corpus.remarks


def test_russian_names_and_texts_in_any_folder(tmp_path: Path, recordings: Path) -> None:
    draft = Draft(tmp_path / "мой голос ü", recordings)
    for number in range(UTTERANCES):
        (draft.folder / f"wavs/a-{number:02}.wav").rename(draft.folder / f"wavs/ёж-{number}.wav")
    texts = [f"Это ёж, мой д+ом, {letter}+ома." for letter in "абвгдежзийклмнопрстуфхцч"]
    draft.lines = [unicodedata.normalize("NFD", f"wavs/ёж-{number}.wav|{text}") for number, text in enumerate(texts)]
    corpus = draft.load(language=RU)
    assert corpus.problems == ()
    assert {utterance.text for utterance in (*corpus.train, *corpus.validation)} == {text.lower() for text in texts}


def test_a_relative_folder_is_the_same_corpus(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = draft.load()
    monkeypatch.chdir(draft.folder)
    relative = load_corpus(Path(), EN, AUDIO, draft.cache, Limits(), 3, seed=0)
    assert relative.train == corpus.train


def test_progress_counts_every_recording(draft: Draft) -> None:
    draft.load()
    calls: list[tuple[int, int]] = []
    load_corpus(draft.folder, EN, AUDIO, draft.cache, Limits(), 3, seed=0, progress=lambda *call: calls.append(call))
    assert calls == [(done, UTTERANCES) for done in range(1, UTTERANCES + 1)]


def test_tails_of_noise_are_trimmed_alike(draft: Draft) -> None:
    """Recordings end with 0 to 0.6 s of noise, whose mels are 30 dB weaker: a stop token cannot know how long it lasts."""
    clean = draft.load()
    lengths = {utterance.id: utterance.sound.frames for utterance in (*clean.train, *clean.validation)}
    draft.silence(0.0, lambda number: 0.6 * number / UTTERANCES, level=0.0035)
    corpus = draft.load(trim_margin_s=0.1)
    behind = [utterance.sound.frames - lengths[utterance.id] for utterance in (*corpus.train, *corpus.validation)]
    assert max(behind) <= 0.2 / 0.0116
    assert np.median(behind) == pytest.approx(0.1 / 0.0116, abs=3)
    assert corpus.problems == ()


def test_silence_at_the_ends_is_reported(draft: Draft) -> None:
    assert not [remark for remark in draft.load(trim_margin_s=0.1).remarks if "silence" in remark], "there is none"
    draft.silence(0.6, lambda number: 0.9 if number else 1.5)
    trimmed, whole = draft.load(trim_margin_s=0.1), draft.load(max_seconds_per_symbol=1.0)
    assert len(whole.train) == len(trimmed.train)
    found = "silence at the ends: 0.58 s before and 0.88 s after the speech (medians; at most 0.6 and 1.5 s)"
    assert f"{found}, trimmed to 0.10 s (data.trim)" in trimmed.remarks
    sentence = next(remark for remark in whole.remarks if remark.startswith(found))
    assert sentence.endswith("of the frames there is no text to read, so attention forms late; data.trim=true cuts it")


def test_a_recording_of_silence_alone_is_no_sound(draft: Draft) -> None:
    draft.insert_sound(np.zeros(AUDIO.rate_hz, np.float32))
    assert [problem.reason for problem in draft.load(trim_margin_s=0.1).problems] == ["no sound"]


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
def test_limits_that_contradict_each_other_are_refused(change: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(Limits(), **change)
