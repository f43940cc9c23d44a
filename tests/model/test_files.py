"""A written file is complete or absent, however many processes write it and however they end."""

import os
from pathlib import Path

import pytest

from model.files import atomic_write, remove_stale_parts


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as slow:
        slow.write_text("slow")
        with atomic_write(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as part:
            part.write_text("ne")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_stale_parts_are_removed(tmp_path: Path) -> None:
    """A part that was written recently may still have a living writer."""
    (tmp_path / "paths").mkdir()
    stale, recent = tmp_path / "paths" / ".old.0.part", tmp_path / ".new.0.part"
    for path in (stale, recent, tmp_path / "old.npy"):
        path.touch()
    for path in (stale, tmp_path / "old.npy"):
        os.utime(path, (0, 0))
    remove_stale_parts(tmp_path)
    assert not stale.exists()
    assert recent.exists()
    assert (tmp_path / "old.npy").exists()
