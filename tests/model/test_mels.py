"""The mel cache: computed once, never torn or stale, and safe for several processes at once."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from model.audio import decode, log_mel, save
from model.config import Audio
from model.data.mels import Sound, open_mel, prepare
from model.sound_files import SoundError, read

AUDIO = Audio()


def tone(path: Path, hertz: float = 220, seconds: float = 0.3) -> Path:
    time = np.arange(int(seconds * AUDIO.rate_hz)) / AUDIO.rate_hz
    save(path, (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), AUDIO)
    return path


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return tone(tmp_path / "tone.wav")


def assert_complete(sound: Sound, wav: Path) -> None:
    np.testing.assert_array_equal(open_mel(sound), log_mel(decode(read(wav), AUDIO)[0], AUDIO))


def test_a_sound_has_its_mel_and_its_properties(wav: Path, cache: Path) -> None:
    sound = prepare(wav, AUDIO, cache)
    assert_complete(sound, wav)
    mel = open_mel(sound)
    assert isinstance(mel, np.memmap)
    assert not mel.flags.writeable
    assert (sound.frames, sound.rate_hz, sound.channels, sound.clipped) == (len(mel), 22_050, 1, 0)
    assert sound.seconds == pytest.approx(0.3, abs=1e-4)
    assert sound.peak == pytest.approx(0.5, abs=1e-3)
    assert sound.rms == pytest.approx(0.5 / np.sqrt(2), abs=1e-3)
    assert sound.mel_mean == pytest.approx(mel.mean(), abs=1e-5)
    assert sound.mel_square - sound.mel_mean**2 == pytest.approx(mel.var(), abs=1e-4)


def test_a_second_call_writes_nothing_and_returns_the_same(wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    before = times(cache)
    assert prepare(wav, AUDIO, cache) == first
    assert times(cache) == before


def test_a_cached_path_reads_no_sound(wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    found = wav.stat()
    wav.write_bytes(bytes(found.st_size))
    os.utime(wav, ns=(found.st_atime_ns, found.st_mtime_ns))  # size and modification time identify a file
    assert prepare(wav, AUDIO, cache) == first


def test_a_copy_elsewhere_shares_the_mel(wav: Path, cache: Path, tmp_path: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    written = first.mel_path.stat().st_mtime_ns
    assert prepare(tone(tmp_path / "копия ü.wav"), AUDIO, cache) == first
    assert first.mel_path.stat().st_mtime_ns == written


def test_relative_paths_are_the_same_as_absolute_ones(wav: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(wav.parent)
    sound = prepare(Path("tone.wav"), AUDIO, Path("cache"))
    assert sound == prepare(wav, AUDIO, cache)
    assert sound.mel_path.is_absolute()


def test_changed_content_gives_another_mel(wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    tone(wav, hertz=440)  # of the same size
    os.utime(wav, ns=(1, 1))
    second = prepare(wav, AUDIO, cache)
    assert second.mel_path != first.mel_path
    assert_complete(second, wav)


@pytest.mark.parametrize(
    "change", [{"hop_samples": 200}, {"mel_bands": 40}, {"fmax_hz": 7_000.0}, {"floor": 1e-4}, {"window_samples": 800}], ids=str
)
def test_changed_audio_settings_give_another_mel(change: dict[str, float], wav: Path, cache: Path) -> None:
    settings = replace(AUDIO, **change)
    first, second = prepare(wav, AUDIO, cache), prepare(wav, settings, cache)
    assert second.mel_path != first.mel_path
    np.testing.assert_array_equal(open_mel(second), log_mel(decode(read(wav), settings)[0], settings))


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("left", [0, 0.5, None], ids=["emptied", "half", "gone"])
@pytest.mark.parametrize("known", [True, False], ids=["known path", "new path"])
def test_a_torn_entry_is_computed_again(suffix: str, left: float | None, known: bool, wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    entry = first.mel_path.with_suffix(suffix)
    if left is None:
        entry.unlink()
    else:
        os.truncate(entry, int(left * entry.stat().st_size))
    second = wav if known else tone(wav.with_name("same.wav"))
    assert prepare(second, AUDIO, cache) == first
    assert_complete(first, wav)


@pytest.mark.parametrize("place", [20, -1], ids=["header", "mel"])
def test_a_flipped_bit_is_noticed_and_the_next_start_repairs_it(place: int, wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    content = bytearray(first.mel_path.read_bytes())
    content[place] ^= 1
    first.mel_path.write_bytes(content)
    with pytest.raises(OSError, match="the mel cache is damaged") as caught:
        open_mel(first)
    assert caught.value.filename == str(first.mel_path)
    assert prepare(wav, AUDIO, cache) == first
    assert_complete(first, wav)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"frames": 3}', b"\xff\x00"], ids=str)
def test_damaged_properties_are_computed_again(content: bytes, wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    first.mel_path.with_suffix(".json").write_bytes(content)
    assert prepare(wav, AUDIO, cache) == first


def test_a_torn_shortcut_does_no_harm(wav: Path, cache: Path) -> None:
    first = prepare(wav, AUDIO, cache)
    for shortcut in (cache / "paths").iterdir():
        shortcut.write_bytes(b"\xff\x00torn")
    assert prepare(wav, AUDIO, cache) == first


@pytest.mark.parametrize("content", [None, b"", b"no sound"], ids=["missing", "empty", "text"])
def test_an_unreadable_file_leaves_nothing_behind(content: bytes | None, tmp_path: Path, cache: Path) -> None:
    if content is not None:
        (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(SoundError):
        prepare(tmp_path / "bad.wav", AUDIO, cache)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_not_a_sound_error(wav: Path) -> None:
    with pytest.raises(OSError, match="tone"):
        prepare(wav, AUDIO, wav / "cache")


def test_two_processes_may_fill_an_empty_cache_at_once(tmp_path: Path, cache: Path) -> None:
    wavs = [tone(tmp_path / f"{hertz}.wav", hertz) for hertz in (200, 200, 300, 300, 400, 400)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        sounds = list(pool.map(prepare, wavs, [AUDIO] * 6, [cache] * 6))
    assert sounds[::2] == sounds[1::2]
    for sound, wav in zip(sounds, wavs, strict=True):
        assert_complete(sound, wav)
    assert sorted(path.suffix for path in cache.iterdir() if path.is_file()) == [".json"] * 3 + [".npy"] * 3


def with_silence(path: Path, before: float, after: float) -> Path:
    """Write a tone of 0.5 s between silences of so many seconds."""
    wave = [
        np.zeros(int(before * AUDIO.rate_hz)),
        np.sin(np.arange(AUDIO.rate_hz // 2) / 20),
        np.zeros(int(after * AUDIO.rate_hz)),
    ]
    save(path, (0.5 * np.concatenate(wave)).astype(np.float32), AUDIO)
    return path


def test_silence_at_the_ends_is_measured_and_trimmed_to_the_margin(tmp_path: Path, cache: Path) -> None:
    wav = with_silence(tmp_path / "tone.wav", 0.4, 0.7)
    whole, trimmed = prepare(wav, AUDIO, cache), prepare(wav, AUDIO, cache, trim_margin_s=0.1)
    assert whole.seconds == pytest.approx(1.6, abs=1e-4)
    assert trimmed.seconds == pytest.approx(0.7, abs=0.06)
    for sound in (whole, trimmed):
        assert (sound.lead_s, sound.tail_s) == (pytest.approx(0.4, abs=0.04), pytest.approx(0.7, abs=0.04)), "those of the file"
    mel, complete = open_mel(trimmed), open_mel(whole)
    begin = round(trimmed.lead_s / 0.0116) - round(0.1 / 0.0116)
    np.testing.assert_array_equal(mel, complete[begin : begin + trimmed.frames])
    assert trimmed.mel_mean == pytest.approx(mel.mean(), abs=1e-5)
    assert prepare(wav, AUDIO, cache, trim_margin_s=0.1) == trimmed
    assert prepare(wav, AUDIO, cache, trim_margin_s=0.2).frames == pytest.approx(trimmed.frames + 2 * 0.1 / 0.0116, abs=2)


def test_a_margin_wider_than_the_silence_leaves_the_sound_as_it_is(tmp_path: Path, cache: Path) -> None:
    wav = with_silence(tmp_path / "tone.wav", 0.05, 0.0)
    whole, trimmed = prepare(wav, AUDIO, cache), prepare(wav, AUDIO, cache, trim_margin_s=0.1)
    assert (trimmed.frames, trimmed.seconds) == (whole.frames, whole.seconds)
