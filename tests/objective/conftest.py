"""What tests of the command share: a corpus that is spoken once."""

from pathlib import Path

import pytest

from tests.objective.test_study import SMALL, command


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder whose corpus and mels are there already, and a study without a trial."""
    out = tmp_path_factory.mktemp("runs")
    (out / "small.yaml").write_text(SMALL)
    assert command(out, "--study", "nothing", "--trials", "1", "--timeout", "1e-9") == 0
    return out
