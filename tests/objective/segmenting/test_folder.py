"""The folder that is written: whole or not there, a corpus that studies read, in groups that splits respect."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data.manifests import read
from model.data.split import recording as group_of
from model.errors import BadInput
from objective.segmenting.folder import names, new_folder, write_lists, write_pieces
from objective.segmenting.recording import Recording
from objective.segmenting.segmenting import Piece

PIECES = [
    Piece(0.0, 1.0, "One, two.", "one two", 0.0),
    Piece(1.0, 2.0, "Wrong; text.", "something else", 0.9, "heard otherwise"),
    Piece(2.0, 3.5, "Three.", "three", 0.0),
]


def recorded(path: Path, rate_hz: int = 44_100, channels: int = 2, subtype: str = "PCM_24") -> Recording:
    wave = 0.1 * np.random.default_rng(0).standard_normal((4 * rate_hz, channels))
    soundfile.write(path, wave, rate_hz, subtype=subtype)
    return Recording.open(path)


def write(folder: Path, recording: Recording) -> None:
    with new_folder(folder) as made:
        kept, refused = write_pieces(made, "book", recording, PIECES, lambda done, total: None)
        write_lists(made, kept, refused)


def test_it_is_a_corpus_with_what_was_kept(tmp_path: Path) -> None:
    write(tmp_path / "corpus", recorded(tmp_path / "a.wav"))
    manifest = read(tmp_path / "corpus")
    assert [(line.id, line.text) for line in manifest.lines] == [("book-0001", "One, two."), ("book-0003", "Three.")]
    assert all(line.audio.is_file() for line in manifest.lines)
    assert not manifest.problems
    assert "book-0002" in (tmp_path / "corpus" / "refused.csv").read_text(encoding="utf-8")
    assert (tmp_path / "corpus" / "refused" / "book-0002.wav").is_file()


def test_cuts_are_the_recordings_own_samples(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.wav")
    write(tmp_path / "corpus", recording)
    whole, _ = soundfile.read(recording.path, dtype="int32")
    part, rate_hz = soundfile.read(tmp_path / "corpus" / "wavs" / "book-0003.wav", dtype="int32")
    assert rate_hz == 44_100
    assert (part == whole[2 * rate_hz : int(3.5 * rate_hz)]).all()


def test_blocks_and_parts_are_the_same_sound(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.wav", 22_050, 1, "PCM_16")
    streamed = np.concatenate(list(recording.blocks(16_000)))
    assert np.allclose(streamed, recording.read(0, 4, 16_000)[: len(streamed)], atol=1e-3)


def test_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "a.wav")

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "corpus") as made:
        write_pieces(made, "book", recording, PIECES, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").touch()
    with pytest.raises(BadInput, match="choose another one"), new_folder(tmp_path / "corpus"):
        pass
    assert (tmp_path / "corpus" / "mine.txt").exists()
    with pytest.raises(BadInput, match="in one that exists"), new_folder(tmp_path / "no" / "corpus"):
        pass


def test_pieces_of_a_recording_are_a_group_of_their_own() -> None:
    found = names([Path("a/Part 1.mp3"), Path("b/Part 1.wav"), Path("книга|2.flac"), Path("....wav")])
    assert len(set(found)) == 4
    assert [group_of(f"{name}-0001") for name in found] == found
    assert not any("|" in name or "/" in name for name in found)


@pytest.mark.parametrize("content", [b"", b"no sound at all"])
def test_what_is_no_sound_is_explained(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(BadInput, match="convert it"):
        Recording.open(tmp_path / "bad.wav")
    with pytest.raises(BadInput, match="check the path"):
        Recording.open(tmp_path / "none.wav")
