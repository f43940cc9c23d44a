"""Measure each line of a corpus, from what the reader knows of its sound and from its cached mel: no file is decoded twice."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from model.audio import Floats, band_edges
from model.config import Audio
from model.data.corpus import Reading
from model.data.mels import open_mel
from model.listener import spelled
from model.silence import SILENCE_DB, levels
from model.text.languages import Language

DB = 20 / math.log(10)  # of a natural logarithm of a magnitude
SPEECH_DB = 60.0  # below the loudest band: a band that never comes closer carries no speech. Fricatives come within 35
QUIET, OFTEN_LOUD = 0.05, 0.95  # quantiles over the frames
HUMMING = 2  # lowest bands, which an offset or a hum fills: the level of speech is that of the others

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Row:
    """One line of a corpus that can be used, with its measures."""

    id: str
    book: str  # the list file, where there are several
    line: int
    text: str  # as written
    read: str  # by the network
    letters: int
    seconds: float  # of the mel
    sound_s: float  # of sound, without the silence at the ends and between words
    lead_s: float  # silence before it, in the file
    tail_s: float
    level_db: float  # RMS, 0 is full scale
    peak: float
    clipped: float  # share of the samples
    floor_db: float  # of the quiet frames, below the loud ones
    low_db: float  # of the quiet frames of the lowest band, below the loud ones: an offset or a hum is always there
    bandwidth_hz: float  # upper edge of the highest band that carries speech
    sound: Path = field(repr=False)
    validation: bool = False  # held out
    rate: float = 0.0  # deviations from the usual seconds per letter: below 0 too fast
    loudness: float = 0.0  # deviations from the usual level
    heard: str | None = None  # by a listener that was trained on other lines
    errors: float | None = None  # share of the letters that it heard wrong
    fit: float | None = None  # deviations by which this text is likelier than others of its length
    belongs: str | None = None  # the line whose text was heard
    kinds: list[str] = field(default_factory=list)  # of findings that name it

    @property
    def place(self) -> str:
        """The line as a person finds it."""
        return f"{self.book and f'{self.book}, '}line {self.line} ({self.id})"


def measured(reading: Reading, language: Language, audio: Audio, progress: Progress | None = None) -> Iterator[Row]:
    """Yield a row for each line that can be used, in the order of the list."""
    edges = band_edges(audio)
    for done, ((line, encoded), sound) in enumerate(reading.kept, 1):
        floor, low, band, share = _of_mel(open_mel(sound))
        yield Row(
            id=line.id,
            book=line.list,
            line=line.number,
            text=line.text,
            read=encoded.text,
            letters=len(spelled(encoded.text, language).replace(" ", "")),
            seconds=sound.seconds,
            sound_s=share * sound.seconds,
            lead_s=sound.lead_s,
            tail_s=sound.tail_s,
            level_db=DB * math.log(max(sound.rms, 1e-10)),
            peak=sound.peak,
            clipped=sound.clipped,
            floor_db=floor,
            low_db=low,
            bandwidth_hz=edges[band],
            sound=line.audio.absolute(),
        )
        if progress is not None:
            progress(done, len(reading.kept))


def _of_mel(mel: Floats) -> tuple[float, float, int, float]:
    """Measure a mel (T, M).

    Return its noise floor and its lowest band in dB below the loud frames, the highest band with speech, and the share of the
    frames with sound.
    """
    level, loud = levels(torch.from_numpy(np.array(mel[:, HUMMING:]))[None], torch.tensor([len(mel)]))
    reference, frames = float(loud), level[0].numpy()
    often = DB * _quantile(mel, OFTEN_LOUD)
    quiet = float(_quantile(frames[:, None], QUIET)[0])
    lowest = DB * float(_quantile(mel[:, :1], QUIET)[0])
    highest = int(np.flatnonzero(often > often.max() - SPEECH_DB)[-1])
    return reference - quiet, reference - lowest, highest, float((frames > reference - SILENCE_DB).mean())


def _quantile(values: Floats, share: float) -> Floats:
    """Return a quantile of each column of (T, M), without interpolation."""
    place = int(share * (len(values) - 1))
    return np.asarray(np.partition(values, place, axis=0)[place])


def columns(rows: Sequence[Row], name: str) -> np.ndarray:
    """Return one measure of all rows."""
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)
