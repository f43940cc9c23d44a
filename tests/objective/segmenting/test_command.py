"""The command: its errors, and real speech of espeak-ng cut by pocketsphinx."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data.demo import speak_corpus
from model.text.languages import find_language
from objective.segment import main


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["a.wav", "b.wav", "--text", "a.txt"], "a transcript for each recording"),
        (["a.wav", "--text", "a.txt", "--shortest", "5", "--longest", "3"], "--shortest < --longest"),
        (["a.wav", "--text", "a.txt", "--most-errors", "2"], "--most-errors"),
        (["a.wav", "--text", "a.txt", "--kframes", "100"], "--like"),
        (["a.wav", "--text", "a.txt", "--language", "xx"], "need one of en, ru"),
        (["a.wav", "--text", "a.txt"], "check the path"),
    ],
)
def test_bad_arguments_are_explained_and_leave_nothing(
    tmp_path: Path, arguments: list[str], rule: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "-o", "corpus"]) == 2
    assert rule in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_language_that_nobody_hears_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    (tmp_path / "a.txt").write_text("Привет.", encoding="utf-8")
    arguments = [str(tmp_path / "a.wav"), "--text", str(tmp_path / "a.txt"), "--language", "ru"]
    assert main([*arguments, "-o", str(tmp_path / "corpus")]) == 2
    assert "--like" in capsys.readouterr().err


@pytest.mark.slow
def test_spoken_sentences_come_back_with_their_texts(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    pytest.importorskip("pocketsphinx")
    spoken = speak_corpus(tmp_path, find_language("en"), 0, 10, "general")
    rows = [row.split("|") for row in (spoken / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    waves = [soundfile.read(spoken / "wavs" / f"{row[0]}.wav") for row in rows]
    rate_hz = waves[0][1]
    parts = [part for wave, _ in waves for part in (wave, np.zeros(rate_hz // 2))]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), rate_hz)
    (tmp_path / "long.txt").write_text("\n".join(row[1] for row in rows), encoding="utf-8")
    folder = tmp_path / "corpus"
    assert main([str(tmp_path / "long.wav"), "--text", str(tmp_path / "long.txt"), "-o", str(folder)]) == 0
    text = " ".join(row[1] for row in rows)
    kept = [row.split("|")[1] for row in (folder / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    assert kept
    assert all(piece in text for piece in kept)
    with (folder / "refused.csv").open(encoding="utf-8", newline="") as file:
        assert all(row["reason"] for row in csv.DictReader(file))
