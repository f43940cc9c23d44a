"""Read sound files: whatever libsndfile reads, and by ffmpeg, where it is installed, what it does not.

A file that cannot be read is a SoundError, whatever is wrong with it: it costs one line of a corpus, never a study.
soundfile is imported in the functions that use it, so that cached mels can be read without it.
"""

import shutil
import stat
import subprocess
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (S, channels)

MOST_BYTES = 2**30  # of a file: an utterance has a few megabytes
OPEN_ENDED = (
    0x7FFF_0000  # bytes that a header promises from here on, if its writer could not go back: SoX 0x7FFFF000, ffmpeg -1
)
UNKNOWN = 2**62  # frames by libsndfile's count, of a FLAC from a pipe
KNOWN_SHARE = 0.99  # of the promised samples that must be there: codecs round
BLOCK = 1 << 16  # frames read at once: some files do not say how many they have
LEAST_HZ = 4_000  # telephones have 8,000: below, the header is wrong, and resampling would need gigabytes
FFMPEG_S = 120.0  # seconds for one file
_BY_FFMPEG = {  # the first bytes of what libsndfile does not read, at a place
    "M4A": (4, b"ftyp"),
    "AAC": (0, b"\xff\xf1"),
    "AAC of MPEG-2": (0, b"\xff\xf9"),
    "WMA": (0, b"\x30\x26\xb2\x75"),
    "WebM": (0, b"\x1a\x45\xdf\xa3"),
    "AMR": (0, b"#!AMR"),
    "WavPack": (0, b"wvpk"),
    "Monkey's Audio": (0, b"MAC "),
}


class SoundError(ValueError):
    """A sound file is missing, forbidden, cut short or no sound at all; the message says which."""


def read(path: Path) -> bytes:
    """Return the file's bytes. Raises SoundError, which tells an unreadable file from a disk that cannot be written.

    A FIFO or a device, whose reading may never end, is not opened.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SoundError("is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise SoundError("a device or a pipe, need a file")
        if status.st_size > MOST_BYTES:
            raise SoundError(f"{status.st_size / 2**30:.1f} GiB, need at most 1: cut it into sentences")
        return path.read_bytes()
    except OSError as error:
        raise SoundError((error.strerror or str(error)).lower()) from error


def samples(content: bytes) -> tuple[Samples, int]:
    """Return the samples (S, channels) as they are in the file, and its rate in Hz. Raises SoundError."""
    _check_lengths(content)
    kind = next((kind for kind, (at, magic) in _BY_FFMPEG.items() if content[at : at + len(magic)] == magic), None)
    try:
        found, promised, rate_hz = _decoded(_converted(content, kind) if kind else content)
    except (SoundError, OSError):  # the latter is the machine's: no space for ffmpeg's file
        raise
    except Exception as error:  # codecs fail in many ways
        why = getattr(error, "error_string", "") or str(error) or type(error).__name__
        rule = f"{len(content)} bytes that cannot be decoded ({why.strip() or 'damaged'})"
        raise SoundError(f"{rule}: need WAV, FLAC, OGG, Opus or MP3") from error
    if promised < UNKNOWN and len(found) < KNOWN_SHARE * promised:
        raise SoundError(f"cut short: its header promises {promised} samples, it has {len(found)}")
    if not found.size:
        raise SoundError("it holds no sample")
    if not np.isfinite(found).all():
        raise SoundError("it holds samples that are not finite numbers")
    if rate_hz < LEAST_HZ:
        raise SoundError(f"a sampling rate of {rate_hz} Hz, need at least {LEAST_HZ} Hz: correct its header")
    return found, rate_hz


class _File(BytesIO):
    """A file in memory that stays where it is when a damaged header sends the decoder elsewhere: an error would be printed."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _decoded(content: bytes) -> tuple[Samples, int, int]:
    """Decode by libsndfile: samples (S, channels), how many its header promises, and the rate in Hz."""
    import soundfile

    with soundfile.SoundFile(_File(content)) as file:
        file.seekable = lambda: False  # else it seeks behind each block, which some codecs cannot
        blocks = [file.read(BLOCK, dtype="float32", always_2d=True)]
        while len(blocks[-1]) == BLOCK:
            blocks.append(file.read(BLOCK, dtype="float32", always_2d=True))
        return np.concatenate(blocks), file.frames, file.samplerate


def _check_lengths(content: bytes) -> None:
    """Raise SoundError for a WAV whose header promises more sound than there is, or less: libsndfile reads what there is."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return
    start, size = _chunk(content, 12)
    while start < len(content) and content[start - 8 : start - 4] != b"data":
        start, size = _chunk(content, start + size + size % 2)
    present = len(content) - start
    if present <= 0 or size >= OPEN_ENDED:
        return
    if present < KNOWN_SHARE * size:
        raise SoundError(f"cut short: its header promises {size} bytes of sound, it has {present}")
    behind = start + size + size % 2
    while _named(content[behind : behind + 4]) and sum(_chunk(content, behind)) <= len(content) + 1:
        start, length = _chunk(content, behind)
        behind = start + length + length % 2
    if len(content) - behind > (1 - KNOWN_SHARE) * present:
        rule = f"its header promises {size} bytes of sound, {present} follow"
        raise SoundError(f"{rule}: its writer was interrupted; correct the header, for example with sox --ignore-length")


def _named(name: bytes) -> bool:
    """Return whether these bytes can be the name of a RIFF chunk, such as LIST, "id3 " or _PMX."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _chunk(content: bytes, place: int) -> tuple[int, int]:
    """Return where the content of the RIFF chunk at `place` starts, and its size."""
    return place + 8, int.from_bytes(content[place + 4 : place + 8], "little")


def _converted(content: bytes, kind: str) -> bytes:
    """Convert a file to WAV by ffmpeg."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SoundError(f"{kind}, which is read by ffmpeg: install ffmpeg, or convert the file to WAV or FLAC")
    with tempfile.NamedTemporaryFile(suffix=".sound") as file:  # M4A has its index at the end, so a pipe will not do
        file.write(content)
        file.flush()
        command = [
            ffmpeg,
            "-v",
            "error",
            "-nostdin",
            "-i",
            file.name,
            "-map",
            "0:a:0",
            "-f",
            "wav",
            "-c:a",
            "pcm_f32le",
            "pipe:1",
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=FFMPEG_S)
    if done.returncode:
        why = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SoundError(f"{kind} that ffmpeg cannot read: {why}")
    return done.stdout
