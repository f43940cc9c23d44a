"""Other judges hear the kept snapshots of an archive: letters are compared as they are read, and a stopped run continues."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.voices import Judgement, Voice, judge_all, judged
from model import checkpoints
from model.config import Audio, Config
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from objective.trial.ears import Ears
from objective.trial.judge import Judge
from tests.conftest import tiny_network
from tests.model.voices import BANDS, TOY, sentences
from tests.objective.trial.test_judge import CPU, HOP_S, voice

AUDIO = Audio(mel_bands=BANDS)


@pytest.mark.parametrize(
    ("code", "text", "heard", "errors"),
    [
        ("en", "seven days, at most.", "7 days at MOST!", 0),
        ("ru", "ещё с+емь лет.", "Еще 7 лет", 0),
        ("en", "one tree.", "one", 5 / 8),
        ("en", "tree.", "trees and trees and trees", 1),
        ("en", "tree.", "", 1),
    ],
)
def test_letters_are_compared_as_they_are_read(code: str, text: str, heard: str, errors: float) -> None:
    assert judged(Voice((text,), (), AUDIO), [heard], find_language(code)) == {"errors": errors, "heard": heard}


@pytest.fixture
def judge() -> Judge:
    return Judge(*voice(sentences(3, 9)), Ears(None), HOP_S, 0.3, CPU)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the snapshots of trials 0 and 7."""
    for k in (0, 7):
        torch.manual_seed(k)
        config = Config(audio=AUDIO, network=tiny_network())
        weights = Tacotron2(config.network, len(TOY.symbols), BANDS).state_dict()
        snapshot = {"weights": weights, "kframes": 1.0, "symbols": list(TOY.symbols), "config": asdict(config)}
        checkpoints.save(tmp_path / f"curve-{k:05d}.pt", snapshot)
    return tmp_path


def test_every_judge_hears_the_recordings_and_every_voice_once(judge: Judge, folder: Path) -> None:
    file, heard = folder / "heard.jsonl", []

    def ear(name: str, stop_at: int = 9) -> Any:
        def hear(voice: Voice) -> Judgement:
            if len(heard) == stop_at:
                raise KeyboardInterrupt
            heard.append((name, sum(map(len, voice.mels))))
            return judged(voice, voice.texts, TOY)

        return hear

    with pytest.raises(KeyboardInterrupt):
        judge_all(folder, file, judge, {"one": ear("one", stop_at=2)}, AUDIO, 99)
    judge_all(folder, file, judge, {"one": ear("one"), "two": ear("two")}, AUDIO, 99)
    judge_all(folder, file, judge, {"one": ear("one"), "two": ear("two")}, AUDIO, 99)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["k"], line["judge"]) for line in lines] == [
        (None, "one"), (0, "one"), (None, "two"), (0, "two"), (7, "one"), (7, "two"),
    ]  # fmt: skip
    assert {line["errors"] for line in lines} == {0}
    one, two = ([frames for name, frames in heard if name == wanted] for wanted in ("one", "two"))
    assert one == two, "both hear the same"
    assert one[0] == judge.frames, "the first are the recordings"


def test_some_sentences_of_a_voice_are_spread_over_their_lengths() -> None:
    voice = Voice(tuple("abcdefg"), tuple(np.zeros((n + 1, 2), np.float32) for n in range(7)), AUDIO)
    assert voice.some(3).texts == ("a", "d", "g")
    assert voice.some(1).texts == ("a",)
    assert voice.some(9).texts == voice.texts
    assert [len(mel) for mel in voice.some(2).mels] == [1, 7]
