"""Sound files of every kind are read, or refused with a reason that costs one line; nothing hangs."""

import contextlib
import io
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.sound_files import SoundError, read, samples

RATE_HZ = 8_000
WAVE = (0.4 * np.sin(np.arange(2 * RATE_HZ) / 9)).astype(np.float32)
WHOLE = 36 + 2 * len(WAVE)  # bytes behind the RIFF header's size


def encoded(format: str = "WAV", subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, WAVE, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def with_lengths(riff: int, data: int) -> bytes:
    """Return a WAV whose header gives these lengths in bytes."""
    content = bytearray(encoded())
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    return bytes(content)


def flac_from_a_pipe() -> bytes:
    """Return a FLAC whose header does not say how many samples there are."""
    content = bytearray(encoded("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


TELEPHONE = [("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "GSM610"), ("AIFF", "GSM610"), ("WAV", "G721_32"), ("AU", "G721_32")]
TELEPHONE += [("AU", "G723_24"), ("AU", "G723_40"), ("WAV", "NMS_ADPCM_32"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM")]


@pytest.mark.parametrize(("format", "subtype"), TELEPHONE)
def test_the_codecs_of_telephones_are_read(format: str, subtype: str) -> None:
    found, rate_hz = samples(encoded(format, subtype))
    assert rate_hz == RATE_HZ
    assert len(found) == pytest.approx(len(WAVE), rel=0.02)
    assert np.abs(found).max() == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("format", sorted(soundfile.available_formats().keys() - {"SD2"}))  # SD2 writes a second file
def test_every_kind_is_read_or_refused_with_a_reason(format: str) -> None:
    for subtype in soundfile.available_subtypes(format):
        try:
            content = encoded(format, subtype)
        except soundfile.LibsndfileError:
            continue  # that libsndfile does not write
        try:
            found, _ = samples(content)
        except SoundError:
            continue
        assert len(found) == pytest.approx(len(WAVE), rel=0.05)


@pytest.mark.parametrize(
    "content",
    [
        *(with_lengths(length, length) for length in (0x7FFFFFFF, 0xFFFFFFFF)),
        with_lengths(0x7FFFF024, 0x7FFFF000),
        with_lengths(WHOLE, 0xFFFFFFFF),
        with_lengths(0, 2 * len(WAVE)),
        encoded() + b"LIST\x04\0\0\0abcd",
        encoded() + b"_PMX\x71\x17\0\0" + bytes(6_001) + b"\0id3 \x04\0\0\0abcd",
        encoded() + b"TAG" + bytes(125),
        flac_from_a_pipe(),
    ],
    ids=["signed", "unsigned", "SoX", "ffmpeg", "no RIFF length", "a chunk behind", "metadata behind", "a tag behind", "FLAC"],
)
def test_sound_from_a_pipe_is_read_to_its_end(content: bytes) -> None:
    assert samples(content)[0].shape == (len(WAVE), 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (with_lengths(len(WAVE) + 36, len(WAVE)), "promises 16000 bytes of sound, 32000 follow: its writer was interrupted"),
        (with_lengths(WHOLE, len(WAVE)), "promises 16000 bytes of sound, 32000 follow"),
        (with_lengths(0, 0), "promises 0 bytes of sound, 32000 follow"),
        (encoded()[:-9_000], "cut short: its header promises 32000 bytes of sound, it has 23000"),
        (encoded()[:30], "cannot be decoded"),
        (b"RIFF\0\0\0\0WAVEdata", "cannot be decoded"),
        (encoded(rate_hz=1), "a sampling rate of 1 Hz, need at least 4000 Hz"),
        (b"RIFF" + os.urandom(5_000), "cannot be decoded"),
        (b"OggS" + bytes(5_000), "cannot be decoded"),
        (b"fLaC" + bytes(5_000), "cannot be decoded"),
    ],
    ids=["half", "half of the sound", "zero", "cut", "header", "tiny", "1 Hz", "noise", "no Ogg", "no FLAC"],
)
def test_a_damaged_file_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(SoundError, match=reason):
        samples(content)


def test_any_damage_is_a_sound_error() -> None:
    """Twenty files of each kind with eight random bytes: whatever the decoder raises costs one line."""
    random = np.random.default_rng(0)
    for format in ("WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "W64"):
        for _ in range(20):
            content = bytearray(encoded(format))
            for place in random.integers(0, 120, 8):
                content[place] = random.integers(256)
            with contextlib.suppress(SoundError):
                assert np.isfinite(samples(bytes(content))[0]).all()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    with pytest.raises(SoundError, match=r"is a directory|a device or a pipe, need a file"):
        read(tmp_path / "pipe" if kind == "pipe" else path)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(3 * 2**30)  # takes no space
    with pytest.raises(SoundError, match=r"3\.0 GiB, need at most 1: cut it into sentences"):
        read(tmp_path / "a.wav")


def test_opus_is_read() -> None:
    found, rate_hz = samples(encoded("OGG", "OPUS"))
    assert len(found) / rate_hz == pytest.approx(2, abs=0.02)


M4A = b"\0\0\0\x20ftypM4A " + bytes(400)


@pytest.mark.parametrize(("kind", "content"), [("M4A", M4A), ("WebM", b"\x1a\x45\xdf\xa3" + bytes(99)), ("AMR", b"#!AMR\n")])
def test_without_ffmpeg_its_kinds_are_named(kind: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SoundError, match=f"{kind}, which is read by ffmpeg: install ffmpeg, or convert the file"):
        samples(content)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.wma", "a.webm", "a.wv", "a.mp4"])
def test_with_ffmpeg_they_are_read(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE, RATE_HZ)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), "-ar", "16000", str(tmp_path / name)]
    subprocess.run(command, check=True)
    found, rate_hz = samples(read(tmp_path / name))
    assert rate_hz in (16_000, 48_000)
    assert len(found) / rate_hz == pytest.approx(2, abs=0.2)
    assert found.std() == pytest.approx(WAVE.std(), rel=0.1)
    with pytest.raises(SoundError, match="that ffmpeg cannot read"):
        samples(M4A)
