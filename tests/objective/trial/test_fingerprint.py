"""A corpus keeps its fingerprint from version to version, or every study on it would be refused."""

from pathlib import Path

import numpy as np

from model.audio import wav
from model.config import Audio
from model.data.corpus import load_corpus
from model.data.limits import Limits
from model.text.languages import find_language
from objective.trial.corpus import fingerprint

WORDS = ["river", "stone", "window", "garden", "yellow", "winter", "summer", "bridge", "candle", "harbour"]


def test_the_fingerprint_of_an_ljspeech_folder_stays(tmp_path: Path) -> None:
    """As of version 0.1.0. If this has to change, raise the format of the mel cache and say so in CHANGELOG.md."""
    (tmp_path / "wavs").mkdir()
    rows = []
    for number in range(24):
        name = f"LJ{number // 3:03}-{number % 3:04}"
        sawtooth = np.arange(32_000 + 100 * number) * (5 + number) % 200 - 100  # of whole numbers, equal on every machine
        (tmp_path / f"wavs/{name}.wav").write_bytes(wav((sawtooth / 256).astype(np.float32), Audio()))
        text = f"The {WORDS[number % 10]} and the {WORDS[number // 10]} stand there."
        rows.append(f"{name}|{text.upper()}|{text if number % 4 else ''}\n")
    (tmp_path / "metadata.csv").write_text("".join(rows))
    corpus = load_corpus(tmp_path, find_language("en"), Audio(), tmp_path / "cache", Limits(), 4, 0)
    assert [utterance.id for utterance in corpus.validation] == ["LJ004-0000", "LJ004-0001", "LJ004-0002"]
    assert fingerprint(corpus) == "dabb490f39371127"
