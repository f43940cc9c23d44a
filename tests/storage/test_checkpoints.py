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


def test_a_bit_that_flipped_is_seen_wherever_it_matters(tmp_path: Path) -> None:
    """A file has spare bytes between its tensors; any other byte is under a checksum, or the file is refused without one."""
    values = {"weights": {"a": torch.randn(40), "b": torch.arange(7)}, "kframes": 2.5, "said": ["a", {"b": None}]}
    whole = checkpoints.save(tmp_path / "x.pt", values).read_bytes()
    place, seen = tmp_path / "y.pt", 0
    for position in range(0, len(whole), 3):
        place.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        try:
            read = checkpoints.load(place)
        except ValueError:
            seen += 1
            continue
        assert str(read) == str(values), position
    assert seen > len(whole) / 20


def test_the_file_before_lives_on(tmp_path: Path) -> None:
    last, before = tmp_path / "last.pt", tmp_path / "before.pt"
    for number in range(3):
        checkpoints.save(last, {"number": number}, before=before)
    assert [checkpoints.load(path)["number"] for path in (last, before)] == [2, 1]
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save(last, {"no tensor": lambda: None}, before=before)
    assert [checkpoints.load(path)["number"] for path in (last, before)] == [2, 1]


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"evil": print}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a checkpoint that can be read"):
        checkpoints.load(tmp_path / "x.pt")
