"""A file is there whole or not at all, whoever else writes it."""

import os
from pathlib import Path

import pytest

from model.files import sweep, whole


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole(path) as slow:
        slow.write_text("slow")
        with whole(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with whole(path) as part:
            part.write_text("ne")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_swept_and_what_one_may_still_write_is_not(tmp_path: Path) -> None:
    (tmp_path / "paths").mkdir()
    left, written = tmp_path / "paths" / ".old.0.part", tmp_path / ".new.0.part"
    for path in (left, written, tmp_path / "old.npy"):
        path.touch()
    for path in (left, tmp_path / "old.npy"):
        os.utime(path, (0, 0))
    sweep(tmp_path)
    assert not left.exists()
    assert written.exists()
    assert (tmp_path / "old.npy").exists()
