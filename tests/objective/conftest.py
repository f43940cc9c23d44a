"""Fixtures that tests of the commands share: what takes long to make is made once for a whole test run."""

import shutil
from pathlib import Path

import pytest

from tests.objective.corpus import built_once, copy_of
from tests.objective.small_study import SMALL, UNDISTURBED, command
from tests.objective.watched import NAME, run_watched


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder that holds the spoken corpus, its mels and small.yaml. Only to be copied, see `copy_of`."""

    def build(out: Path) -> None:
        (out / "small.yaml").write_text(SMALL)
        assert command(out, "--study", "nothing", "--trials", "1", "--timeout", "1e-9") == 0

    return built_once(tmp_path_factory, build)


@pytest.fixture(scope="session")
def watched(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that tests of its readers share (tests/objective/watched.py). Only to be read."""
    return built_once(tmp_path_factory, lambda out: run_watched(copy_of(corpus, out)), "watched-runs") / NAME


@pytest.fixture(scope="session")
def spoken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the spoken corpus and no study, shared by all tests of this process."""
    return copy_of(corpus, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def undisturbed_study(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the study `undisturbed`: what one command leaves that nothing stops. Only to be copied."""

    def build(out: Path) -> None:
        copy_of(corpus, out)
        assert command(out, "--study", "undisturbed", *UNDISTURBED) == 0

    return built_once(tmp_path_factory, build, "undisturbed")


@pytest.fixture
def undisturbed(undisturbed_study: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return shutil.copytree(undisturbed_study, tmp_path / "undisturbed")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without a run: making its tables takes seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file
