"""A long recording, read in parts: an hour of sound is never in memory at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from model.errors import BadInput

Floats = NDArray[np.float32]

BLOCK_S = 10  # read at once
DEPTHS = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")  # that a cut in a WAV has as its recording; of others, 16 bits


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound file of any length."""

    path: Path
    rate_hz: int
    samples: int
    depth: str  # of the samples in the file, by libsndfile's name

    @classmethod
    def open(cls, path: Path) -> "Recording":
        """Look at the header. Raises BadInput for what cannot be read in parts."""
        if not path.is_file():
            raise BadInput(f"need a sound file, got {path}, which is none: check the path")
        try:
            about = soundfile.info(str(path))
        except soundfile.LibsndfileError as why:
            rule = f"need WAV, FLAC, OGG, Opus or MP3, got {path} ({why.error_string.strip()})"
            raise BadInput(f"{rule}: convert it, for example with ffmpeg -i {path.name} {path.stem}.flac") from why
        if not 0 < about.frames < 2**62:
            raise BadInput(f"need a recording whose header says its length, got {path}: convert it to FLAC")
        return cls(path, about.samplerate, about.frames, about.subtype)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate_hz

    def blocks(self, rate_hz: int) -> Iterator[Floats]:
        """Yield the sound from its beginning to its end, mono and resampled, in parts of any length."""
        stream = soxr.ResampleStream(self.rate_hz, rate_hz, 1, dtype="float32")
        with soundfile.SoundFile(self.path) as file:
            for block in file.blocks(BLOCK_S * self.rate_hz, dtype="float32", always_2d=True):
                yield stream.resample_chunk(block.mean(1), False)
        yield stream.resample_chunk(np.zeros(0, np.float32), True)

    def read(self, start_s: float, end_s: float, rate_hz: int) -> Floats:
        """Return a part, mono, resampled, and scaled down where it leaves [-1, 1]."""
        wave = soxr.resample(self._samples(start_s, end_s, "float32").mean(1), self.rate_hz, rate_hz)
        found: Floats = (wave / max(1.0, float(np.abs(wave).max(initial=0.0)))).astype(np.float32)
        return found

    def cut(self, start_s: float, end_s: float, path: Path) -> None:
        """Write a part as WAV, with the rate, the channels and the depth of the recording."""
        depth = self.depth if self.depth in DEPTHS else "PCM_16"
        kind = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32", "DOUBLE": "float64"}[depth]
        soundfile.write(path, self._samples(start_s, end_s, kind), self.rate_hz, subtype=depth)

    def _samples(self, start_s: float, end_s: float, kind: str) -> NDArray[np.generic]:
        """Return a part as it is: (S, channels)."""
        first = max(0, round(start_s * self.rate_hz))
        with soundfile.SoundFile(self.path) as file:
            file.seek(min(first, self.samples))
            found: NDArray[np.generic] = file.read(max(0, round(end_s * self.rate_hz) - first), dtype=kind, always_2d=True)
            return found
