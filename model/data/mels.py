"""The mel cache: each sound file is decoded, analysed and trimmed once. Its key is a hash of settings and the file's content.

A cache folder holds `KEY.npy`, the log-mel (T frames, M bands); `KEY.json`, the properties of the sound with the mel's
checksum, written last; and `paths/`, which maps a path with its size and modification time to a KEY, so that a second run reads
no sound. Any number of processes may fill it at once: files are written atomically, and all writers of a file write the same
content. An entry that does not match its checksum is computed again.
"""

import errno
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np

from model.audio import Floats, decode, log_mel
from model.config import Audio
from model.files import atomic_write
from model.sound_files import SoundError, read

_HEADER = Lock()  # NumPy reads headers with ast.literal_eval, which sometimes fails in several threads of CPython 3.11
_FORMAT = "tacotune mel 2"  # part of every key: raise it when the same sound would get another mel or other properties


@dataclass(frozen=True, slots=True)
class Sound:
    """One analysed recording. Its mel stays on disk: see `open_mel`. Silence that was trimmed is not in the mel."""

    mel_path: Path
    frames: int  # of the mel
    seconds: float  # that the mel lasts
    lead_s: float  # silence before the speech, in the file
    tail_s: float  # silence behind the speech, in the file
    peak: float  # largest magnitude in the file, 1 = full scale
    rms: float  # of the mono wave, 1 = full scale
    clipped: float  # share of samples at full scale, in runs of three or more
    rate_hz: int  # of the file
    channels: int  # of the file
    mel_mean: float  # over frames and bands
    mel_square: float  # mean of squares over frames and bands
    file_crc: int  # CRC-32 of the mel's file


def prepare(path: Path, audio: Audio, cache: Path, trim_margin_s: float | None = None) -> Sound:
    """Return the sound at `path` from the cache, analysed first if it is new.

    Silence at the ends is cut to `trim_margin_s` seconds; None leaves the sound as it is.
    Raises SoundError for an unreadable file, OSError for an unusable cache folder.
    """
    cache = cache.absolute()
    try:
        found = path.stat()
    except OSError as error:
        raise SoundError((error.strerror or str(error)).lower()) from error
    version = f"\n{found.st_size}\n{found.st_mtime_ns}".encode()
    shortcut = cache / "paths" / _digest(audio, trim_margin_s, os.fsencode(path.absolute()) + version)
    if shortcut.exists() and (sound := _cached(cache, shortcut.read_text(errors="replace"))):
        return sound
    content = read(path)
    key = _digest(audio, trim_margin_s, content)
    sound = _cached(cache, key) or _analyse(content, audio, cache, key, trim_margin_s)
    shortcut.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(shortcut) as part:
        part.write_text(key)
    return sound


def open_mel(sound: Sound) -> Floats:
    """Return the mel (T, M) float32, memory-mapped and read-only. It holds a file descriptor until it is released.

    Raises OSError if the file does not match its checksum: the next `prepare` computes it again.
    """
    if zlib.crc32(sound.mel_path.read_bytes()) != sound.file_crc:
        raise OSError(errno.EIO, "the mel cache is damaged, the next start repairs it", str(sound.mel_path))
    with _HEADER:
        mel: Floats = np.load(sound.mel_path, mmap_mode="r")
    return mel


def cut_frames(sound: Sound, audio: Audio, trim_margin_s: float | None) -> int:
    """Return how many frames of silence `prepare` cut before the first frame of the mel."""
    return 0 if trim_margin_s is None else max(0, _frames(sound.lead_s, audio) - _frames(trim_margin_s, audio))


def _frames(seconds: float, audio: Audio) -> int:
    return round(seconds / (audio.hop_samples / audio.rate_hz))


def _digest(audio: Audio, trim_margin_s: float | None, content: bytes) -> str:
    settings = json.dumps([_FORMAT, trim_margin_s, asdict(audio)], sort_keys=True)
    return hashlib.blake2b(settings.encode() + b"\0" + content, digest_size=16).hexdigest()


def _cached(cache: Path, key: str) -> Sound | None:
    try:
        sound = Sound(mel_path=cache / f"{key}.npy", **json.loads((cache / f"{key}.json").read_bytes()))
        open_mel(sound)
    except (OSError, ValueError, TypeError):  # absent or damaged, either file
        return None
    return sound


def _analyse(content: bytes, audio: Audio, cache: Path, key: str, trim_margin_s: float | None) -> Sound:
    wave, source = decode(content, audio)
    complete = log_mel(wave, audio)
    first, last = _speech(complete)
    hop_s = audio.hop_samples / audio.rate_hz
    mel = complete if trim_margin_s is None else _cut(complete, first, last, _frames(trim_margin_s, audio))
    file = BytesIO()  # on a full disk numpy's writer fails with "5120 requested and 0 written", a plain write with the reason
    np.save(file, mel)
    sound = Sound(
        mel_path=cache / f"{key}.npy",
        frames=len(mel),
        seconds=wave.size / audio.rate_hz - (len(complete) - len(mel)) * hop_s,
        lead_s=first * hop_s,
        tail_s=(len(complete) - 1 - last) * hop_s,
        peak=source.peak,
        rms=float(np.std(wave, dtype=np.float64)),  # nobody hears a constant offset
        clipped=source.clipped,
        rate_hz=source.rate_hz,
        channels=source.channels,
        mel_mean=float(mel.mean(dtype=np.float64)),
        mel_square=float(np.square(mel, dtype=np.float64).mean()),
        file_crc=zlib.crc32(file.getbuffer()),
    )
    cache.mkdir(parents=True, exist_ok=True)
    with atomic_write(sound.mel_path) as part:
        part.write_bytes(file.getbuffer())
    properties = asdict(sound)
    del properties["mel_path"]  # the cache may be moved
    with atomic_write(cache / f"{key}.json") as part:
        part.write_text(json.dumps(properties))
    return sound


def _speech(mel: Floats) -> tuple[int, int]:
    """Return the first and the last frame of the speech in a mel (T, M)."""
    import torch  # the settings load this module, and need no torch

    from model.silence import sounding

    first, last = sounding(torch.from_numpy(mel)[None], torch.tensor([len(mel)]))
    return int(first), int(last)


def _cut(mel: Floats, first: int, last: int, margin: int) -> Floats:
    """Cut a mel (T, M) to the frames from `first` to `last`, and up to `margin` frames on either side."""
    return mel[max(0, first - margin) : last + 1 + margin]
