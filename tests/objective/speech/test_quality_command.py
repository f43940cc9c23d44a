"""The commands `quality` and `compare` on files of voices: what they write, and what they refuse."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from model.config import Audio
from model.listener import Listener, Recogniser
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.voice import Voice
from objective import compare, quality
from objective.trial import ears
from tests.conftest import tiny_config
from tests.model.corpora import UTTERANCES, Draft, tone

HELD_OUT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of tones, and an output folder."""
    root = tmp_path_factory.mktemp("quality")
    (root / "recordings/wavs").mkdir(parents=True)
    for number in range(2 * UTTERANCES):
        soundfile.write(root / f"recordings/wavs/a-{number:02}.wav", tone(0.5, 200 + 4 * number), 22_050)
    draft = Draft(root / "corpus", root / "recordings")
    draft.lines = [f"wavs/a-{number:02}.wav|Tone {number}." for number in range(2 * UTTERANCES)]
    draft.load()
    return root


def voice_file(path: Path, language: str = "en", **about: Any) -> str:
    """Write a voice that stops at once, with a listener that has learnt nothing."""
    config, spoken = replace(tiny_config(reduction=2), audio=Audio()), find_language(language)
    torch.manual_seed(0)
    network = Tacotron2(config.network, len(spoken.symbols), config.audio.mel_bands, -5.0, 2.0)
    torch.nn.init.constant_(network.gate.bias, 5.0)
    listener = Listener(Recogniser(config.audio.mel_bands, len(spoken.letters) + 2), spoken, -5.0, 2.0)
    data = {"validation_utterances": HELD_OUT, "trim": False}
    known = {"config": asdict(config), "language": language, "symbols": list(spoken.symbols), "data": data, **about}
    return str(Voice(network, config, spoken, known, listener).save(path))


def line(folder: Path, *more: str) -> list[str]:
    return [*more, "--data", str(folder / "corpus"), "--device", "cpu", "--out", str(folder / "out")]


def test_quality_writes_its_figures_and_a_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice, texts = voice_file(tmp_path / "voice.pt"), tmp_path / "texts.txt"
    texts.write_text("A sentence. Another one.\n\nA third.\n")
    to = [tmp_path / "quality.json", tmp_path / "quality.html"]
    asked = line(
        folder, "--voice", voice, "--sentences", "3", "--texts", str(texts), "--json", str(to[0]), "--html", str(to[1])
    )
    assert quality.main(asked) == 0
    printed = capsys.readouterr()
    for name in ("distortion", "pitch", "failures free-running", "understood: not known"):
        assert name in printed.out
    for phase in (
        "reading the held-out recordings",
        "measuring the voice",
        "measuring the recordings",
        "saying more sentences",
    ):
        assert phase in printed.err
    found = json.loads(to[0].read_text())
    assert found["sentences"] == len(found["spoken"]) == 3
    assert found["understood"] is found["cer"] is found["judges"]["listener"] is None, "the listener hears nothing"
    assert found["free_running"]["sentences"] == 2, "a line each"
    assert found["free_running"]["texts"] == "without recordings, of texts.txt"
    assert set(found["recordings"]) < set(found)
    assert found["length"] < 0.5
    assert found["recordings"]["mcd_db"] < found["mcd_db"]
    assert found["recordings"]["voicing_errors"] < found["voicing_errors"]
    html = to[1].read_text()
    assert html.count("<audio") == 6
    assert "http" not in html.replace("http-equiv", "")


BAD = {
    "no sentences": (["--sentences", "0"], "--sentences: need at least 1, got 0"),
    "no folder for the page": (["--html", "nowhere/page.html"], "need a file that can be written, in a folder that exists"),
    "no texts": (["--texts", "gone.txt"], "need a file of sentences, one a line, got gone.txt"),
    "no voice": (["--voice", "gone.pt"], "need the file of a voice, got"),
    "no recordings": (["--data", "gone"], "gone, which does not exist: give --data PATH"),
    "no model": (["--whisper", "gone"], "faster-whisper"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_one_sentence(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more, sentence = BAD[case]
    assert quality.main([*line(folder, "--voice", voice_file(tmp_path / "voice.pt")), *more]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


def test_a_voice_that_names_no_recordings_needs_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--voice", voice_file(tmp_path / "voice.pt"), "--out", str(tmp_path / "out")]) == 2
    assert "which it does not name: give --data PATH" in capsys.readouterr().err
    gone = voice_file(tmp_path / "gone.pt", data={"path": str(tmp_path / "gone")})
    assert quality.main(["--voice", gone, "--out", str(tmp_path / "out")]) == 2
    assert f"got {tmp_path / 'gone'}, which does not exist" in capsys.readouterr().err


def test_speech_that_is_not_finite_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Voice.load(voice_file(tmp_path / "voice.pt"))
    torch.nn.init.constant_(own.network.projection.bias, torch.nan)
    assert quality.main(line(folder, "--voice", str(own.save(tmp_path / "voice.pt")), "--sentences", "2")) == 2
    assert "need a voice whose speech is finite" in capsys.readouterr().err


@pytest.mark.slow
def test_a_voice_does_not_differ_from_itself(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ears, "POOR", 99.0)  # the listener judges, though it hears nothing right
    voice, twin = voice_file(tmp_path / "voice.pt"), voice_file(tmp_path / "twin.pt")
    assert compare.main(line(folder, voice, twin, "--name", "twins")) == 0
    assert "value: no difference: " in capsys.readouterr().out
    value, errors = json.loads((folder / "out/twins.json").read_text())
    for found in (value, errors):
        assert found["a"] == found["b"]
        assert found["p"] == 1
        assert found["results"] == f"{HELD_OUT} sentences"
    assert (folder / "out/twins.html").read_text().count("<audio") == 3 * HELD_OUT


def test_voices_that_cannot_be_compared_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice, russian = voice_file(tmp_path / "voice.pt"), voice_file(tmp_path / "russian.pt", language="ru")
    for asked, sentence in (
        ((voice, "first"), "need two voices or two configurations, got"),
        (("some.yaml", voice), "need two voices or two configurations, got"),
        ((voice, russian), "need voices of one language"),
        ((voice, str(tmp_path / "gone.pt")), "gone.pt, which does not exist"),
        ((voice, voice, "--seeds", "9"), "two voices are compared without training, got --seeds"),
        ((voice, voice), "need a listener that hears these recordings"),
    ):
        assert compare.main(line(folder, *asked)) == 2
        assert sentence in capsys.readouterr().err
