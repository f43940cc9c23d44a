"""A checkpoint exists completely or not at all, and is checked when it is read."""

from pathlib import Path

import pytest
import torch

from model import checkpoints


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"weights": {"a": torch.arange(3.0)}, "kframes": 2.5})
    read = checkpoints.load(path)
    assert torch.equal(read["weights"]["a"], torch.arange(3.0))
    assert read["kframes"] == 2.5


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"kframes": 1})
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save(path, {"kframes": 2, "no tensor": lambda: None})
    assert checkpoints.load(path)["kframes"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("cut", [0, 10, -20])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = checkpoints.save(tmp_path / "x.pt", {"weights": torch.zeros(50)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoints.load(path)


def test_a_flipped_bit_is_detected_unless_it_changes_nothing(tmp_path: Path) -> None:
    """Only the padding between tensors is covered by no checksum, and a change there does not change what is read."""
    values = {"weights": {"a": torch.randn(40), "b": torch.arange(7)}, "kframes": 2.5, "names": ["a", {"b": None}]}
    content = checkpoints.save(tmp_path / "x.pt", values).read_bytes()
    path, detected = tmp_path / "y.pt", 0
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        try:
            read = checkpoints.load(path)
        except ValueError:
            detected += 1
            continue
        assert str(read) == str(values), position
    assert detected > len(content) / 20


def test_the_previous_file_is_kept_under_its_own_name(tmp_path: Path) -> None:
    last, before = tmp_path / "last.pt", tmp_path / "before.pt"
    for number in range(3):
        checkpoints.save(last, {"number": number}, before=before)
    assert [checkpoints.load(path)["number"] for path in (last, before)] == [2, 1]
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save(last, {"no tensor": lambda: None}, before=before)
    assert [checkpoints.load(path)["number"] for path in (last, before)] == [2, 1]


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"evil": print}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoints.load(tmp_path / "x.pt")
