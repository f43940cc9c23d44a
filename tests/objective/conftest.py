"""Fixtures that tests of the commands share: a corpus that is spoken once for a whole test run."""

from pathlib import Path

import pytest

from tests.objective.corpus import built_once, copy_of
from tests.objective.test_study import SMALL, command


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder that holds the spoken corpus, its mels and small.yaml. Only to be copied, see `copy_of`."""

    def build(out: Path) -> None:
        (out / "small.yaml").write_text(SMALL)
        assert command(out, "--study", "nothing", "--trials", "1", "--timeout", "1e-9") == 0

    return built_once(tmp_path_factory, build)


@pytest.fixture(scope="session")
def spoken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the spoken corpus and no study, shared by all tests of this process."""
    return copy_of(corpus, tmp_path_factory.mktemp("runs"))
