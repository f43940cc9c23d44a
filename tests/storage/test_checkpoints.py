"""A checkpoint exists whole or not at all."""
from pathlib import Path

import pytest
import torch

from storage import checkpoints


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"weights": {"a": torch.arange(3.0)}, "kframes": 2.5})
    read = checkpoints.load(path)
    assert torch.equal(read["weights"]["a"], torch.arange(3.0))
    assert read["kframes"] == 2.5


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"kframes": 1})
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save(path, {"kframes": 2, "no tensor": lambda: None})
    assert checkpoints.load(path)["kframes"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("cut", [0, 10, -20])
def test_a_torn_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"weights": torch.zeros(50)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoints.load(path)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"evil": print}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoints.load(tmp_path / "x.pt")
