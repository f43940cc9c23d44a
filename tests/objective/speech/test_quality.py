"""A recording measured against itself is perfect; what is shifted, mumbled or half missing is worse by just that."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from model.audio import log_mel, resampled
from model.config import Audio
from model.data.corpus import Corpus
from model.listener import train_listener
from model.loudness import normalised
from model.pitch import pitch
from model.text.languages import find_language
from objective.speech.quality.figures import Floats, FreeRun, Impression, Quality, Sentence, Take
from objective.speech.quality.judges import RATE_HZ, dnsmos
from objective.speech.quality.measure import FREE_RUNNING, Instruments, Recording, chosen, heard, recorded, takes
from objective.speech.quality.show import page, table
from objective.trial.corpus import speech_of
from objective.trial.ears import Ears
from objective.trial.judge import Judge
from tests.model import voices
from tests.model.corpora import UTTERANCES, Draft, tone

AUDIO = Audio()
FRAMES, HOP = 60, AUDIO.hop_samples
TEXTS = ("One tone.", "Another tone.")


def glide(hertz: float, seconds: float = 1.0) -> Floats:
    """A tone with overtones that rises by half a semitone, and falls silent for a while: spectrum, pitch and pause."""
    samples = int(seconds * FRAMES * HOP)
    phase = 2 * np.pi * np.cumsum(np.linspace(hertz, hertz * 2 ** (0.5 / 12), samples)) / AUDIO.rate_hz
    wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.linspace(0.02, 0.2, samples)
    wave[3 * samples // 4 : 7 * samples // 8] = 0
    return wave.astype(np.float32)


def recordings(waves: Sequence[Floats]) -> list[Recording]:
    mels = [log_mel(wave, AUDIO) for wave in waves]
    found = zip(TEXTS, mels, waves, strict=True)
    return [Recording(text, mel, wave, pitch(wave, AUDIO, len(mel))) for text, mel, wave in found]


def measured(waves: Sequence[Floats]) -> list[Take]:
    """Measure waves against the glides, after a perfect vocoder: it knows the wave of each mel."""
    mels = [log_mel(wave, AUDIO) for wave in waves]
    known = {mel.tobytes(): normalised(wave, AUDIO.rate_hz) for mel, wave in zip(mels, waves, strict=True)}
    instruments = Instruments(AUDIO, find_language("en"), lambda mel: known[mel.tobytes()], Ears(None))
    return takes(mels, recordings([glide(120), glide(180)]), instruments, lambda done, total: None)


@pytest.fixture(scope="module")
def perfect() -> list[Take]:
    return measured([glide(120), glide(180)])


def test_a_recording_measured_against_itself_is_perfect(perfect: list[Take]) -> None:
    for take in perfect:
        assert take.mcd_db == pytest.approx(0, abs=0.05), "the loudness of a vocoder costs nothing"
        assert take.f0_rmse_cents == pytest.approx(0, abs=1)
        assert take.voicing_errors == 0
        assert take.seconds == pytest.approx((FRAMES + 1) * HOP / AUDIO.rate_hz)
        assert take.impression == Impression(), "nobody listened"


def test_pace_costs_nothing_but_length(perfect: list[Take]) -> None:
    for take, own in zip(measured([glide(120, 1.5), glide(180, 1.5)]), perfect, strict=True):
        assert take.f0_rmse_cents is not None
        assert take.f0_rmse_cents < 40
        assert take.mcd_db < 1
        assert take.seconds / own.seconds == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("semitones", [-2, 3])
def test_a_shifted_voice_is_off_by_the_shift(semitones: int) -> None:
    for take in measured([glide(hertz * 2 ** (semitones / 12)) for hertz in (120, 180)]):
        assert take.f0_rmse_cents == pytest.approx(100 * abs(semitones), abs=50), "time warping may use the glide"
        assert take.voicing_errors < 0.1


def test_what_is_half_missing_is_worse(perfect: list[Take]) -> None:
    silent = [glide(120), glide(180)]
    for wave in silent:
        wave[: len(wave) // 2] = 0
    for take, own in zip(measured(silent), perfect, strict=True):
        assert take.voicing_errors > 0.2
        assert take.mcd_db > own.mcd_db + 1


@pytest.mark.parametrize("margin_s", [0.1, None])
def test_a_recording_is_cut_where_its_mel_is(tmp_path: Path, margin_s: float | None) -> None:
    (tmp_path / "wavs").mkdir()
    for number in range(UTTERANCES):
        soundfile.write(tmp_path / f"wavs/a-{number:02}.wav", tone(0.5, 200 + 9 * number), AUDIO.rate_hz)
    draft = Draft(tmp_path / "corpus", tmp_path)
    draft.silence(0.3, lambda number: 0.2 + 0.01 * number)
    corpus = draft.load(trim_margin_s=margin_s)
    judge = Judge(corpus, speech_of(corpus), Ears(None), HOP / AUDIO.rate_hz, 0.3, torch.device("cpu"), most=2)
    found = recorded(corpus, judge, AUDIO, margin_s, lambda done, total: None)
    assert len(found) == 2
    for one in found:
        again = log_mel(one.wave, AUDIO)
        assert again.shape == one.mel.shape
        sounding = one.mel[4:-4] > -4
        assert sounding.any()
        assert np.abs(again - one.mel)[4:-4][sounding].max() < 0.02


def test_the_listener_hears_what_is_said_and_not_what_is_mumbled() -> None:
    texts = voices.sentences(5, 9)
    corpus, speech = voices.voice(texts)
    listener = train_listener(corpus, speech.train, 60, torch.device("cpu"), seed=0)
    mels = [np.array(example.mel) for example in speech.validation]
    window = np.ones(16) / 16
    mumbled = [np.stack([np.convolve(band, window, "same") for band in mel.T], 1).astype(np.float32) for mel in mels]
    ears = Ears(listener, 0.0)
    well, badly = heard(mels, texts, ears), heard(mumbled, texts, ears)
    for one, other in zip(well, badly, strict=True):
        assert one.cer is not None
        assert one.value is not None
        assert other.cer is not None
        assert other.value is not None
        assert one.cer < 0.2 < other.cer <= 1
        assert one.value < other.value
    assert heard(mels, texts, Ears(listener, 0.9)) == [Impression()] * 5, "a listener that hears badly says nothing"


TAKE = Take(1.0, 0.1, 3.0, 0.05, 20.0, Impression("one tone", 0.04, 0.02), wave=tone(1.0))


def quality(cer: float | None = 0.04, **changes: object) -> Quality:
    voice = replace(TAKE, seconds=1.5, impression=Impression("one", cer, None if cer is None else 0.1))
    recording = replace(TAKE, impression=Impression("one", None if cer is None else 0.0, 0.0))
    sentences = (Sentence("One.", ("cut",), voice, recording), Sentence("Two.", (), voice, recording))
    free = FreeRun("2 held out", (("cut", "stuck"), (), (), ("cut",)))
    values = {
        "voice": "voice x",
        "weights": "0a",
        "language": "en",
        "vocoder": "griffin-lim",
        "sentences": sentences,
        "free_running": free,
    }
    judges = {"listener": "of the voice", "whisper": None, "dnsmos": None}
    return Quality(**{**values, "margin": 0.1, "judges": judges, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("cer", "understood"), [(0.04, True), (0.1, True), (0.11, False), (None, None)])
def test_it_is_understood_nearly_as_well_as_the_recordings(cer: float | None, understood: bool | None) -> None:
    found = quality(cer)
    assert found.understood is understood
    assert ("not known" in table(found)) == (understood is None)
    assert ("\nnot understood: " in table(found)) == (understood is False)


def test_the_figures_are_means_and_shares() -> None:
    found = quality()
    assert found.length == 1.5
    assert found.failures == 0.5
    assert found.means["value"] == pytest.approx(0.07)
    assert found.recordings["value"] == 0
    assert found.free_running.as_dict() == {
        "sentences": 4, "failures": 0.5, "faults": {"cut": 2, "stuck": 1}, "texts": "2 held out",
    }  # fmt: skip
    shown = table(found)
    assert "DNSMOS is not measured: pip install speechmos" in shown
    assert "50%" in shown


def test_the_page_has_both_players_and_loads_nothing() -> None:
    html = page(quality(voice="voice <b>"), AUDIO)
    assert html.count("<audio") == 4
    assert html.count("data:audio/ogg") == 4
    assert "<b>voice" not in html
    assert "voice <b>" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_sentences_said_free_running_are_always_the_same() -> None:
    corpus, _ = voices.voice(voices.sentences(7, 9))
    found = chosen(corpus)
    assert found == chosen(corpus)
    assert found.which == "7 held out and 60 to train on"
    assert len(set(found.sentences)) == len({one.text for one in (*corpus.train, *corpus.validation)})
    many = Corpus(corpus.language, corpus.train * 3, corpus.validation, (), (), 0.0, 1.0)
    assert len(chosen(many).sentences) == FREE_RUNNING


@pytest.mark.slow
def test_dnsmos_finds_noise_less_natural() -> None:
    pytest.importorskip("speechmos")
    pytest.importorskip("onnxruntime")
    judge = dnsmos()
    assert judge is not None
    clear = glide(120, 2)
    noisy = clear + (0.1 * np.random.default_rng(0).normal(size=len(clear))).astype(np.float32)
    scores = [judge.score(resampled(wave, AUDIO, RATE_HZ)) for wave in (noisy, clear)]
    assert 1 <= scores[0] < scores[1] <= 5
