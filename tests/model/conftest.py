"""Fixtures that are expensive to build, shared by all tests of the model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.audio import save
from tests.model.corpora import AUDIO, UTTERANCES, tone
from tests.model.ranks import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Two processes in a group."""
    made = Ranks()
    yield made
    made.close()


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wavs/a-00.wav ... wavs/a-23.wav, 0.5 s to 0.73 s long; the tests keep their mels in its cache/."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "wavs").mkdir()
    for number in range(UTTERANCES):
        save(folder / f"wavs/a-{number:02}.wav", tone(0.5 + 0.01 * number, 200 + 20 * number), AUDIO)
    return folder
