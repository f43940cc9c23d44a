"""The findings of `tacotune quality` about a voice, as values. Loads without torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.spoken import Fault

Floats = NDArray[np.float32]
FORMAT = "tacotune quality 1"
# Figures that a voice and the recordings have, each the mean over the sentences.
MEANS = ("cer", "surprise", "value", "whisper_cer", "dnsmos", "silence", "mcd_db", "f0_rmse_cents", "voicing_errors")


class Impression(NamedTuple):
    """A sentence as a listener hears it; all None without one that hears well."""

    heard: str | None = None  # letters
    cer: float | None = None  # share of the letters that it heard wrong, at most 1
    surprise: float | None = None  # 1 is that of guessing

    @property
    def value(self) -> float | None:
        """The value of a trial for this sentence (objective/trial/score.py: speech); smaller is better."""
        return None if self.cer is None or self.surprise is None else (self.cer + self.surprise) / 2


NOTHING = Impression()


@dataclass(frozen=True, slots=True)
class Take:
    """One sentence as it sounds, by the voice or as the recording after the same vocoder. None: not measured."""

    seconds: float
    silence: float  # share of silent frames between the first and the last sound
    mcd_db: float  # mel-cepstral distortion, as all differences from the recording itself along the path of time warping
    f0_rmse_cents: float | None  # None: no frame is voiced in both
    voicing_errors: float  # share of the frames that are voiced in one of the two alone
    impression: Impression = NOTHING  # of the listener
    whisper: str | None = None  # what Whisper wrote
    whisper_cer: float | None = None
    dnsmos: float | None = None  # overall, 1 to 5
    wave: Floats = field(default_factory=lambda: np.zeros(0, np.float32), repr=False, compare=False)  # (S,)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("impression", "wave")}
        return {**own, **self.impression._asdict(), "value": self.impression.value}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A held-out sentence, by the voice and as it was recorded."""

    text: str
    faults: tuple[Fault, ...]  # of the voice
    voice: Take
    recording: Take

    @property
    def severity(self) -> tuple[float, int, float]:
        """The key that sorts sentences, the worst last: by errors, then by faults, then by distortion."""
        return self.voice.impression.cer or 0.0, len(self.faults), self.voice.mcd_db

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        takes = {"voice": self.voice.as_dict(), "recording": self.recording.as_dict()}
        return {"text": self.text, "faults": list(self.faults), **takes}


@dataclass(frozen=True, slots=True)
class FreeRun:
    """How often a voice fails in many sentences, without a second try."""

    texts: str  # which they are
    faults: tuple[tuple[Fault, ...], ...]  # of each sentence

    @property
    def failures(self) -> float:
        """The share of the sentences that have a fault."""
        return sum(map(bool, self.faults)) / len(self.faults)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "sentences": len(self.faults),
            "failures": self.failures,
            "faults": counted(self.faults),
            "texts": self.texts,
        }


@dataclass(frozen=True, slots=True)
class Quality:
    """All that was measured of a voice."""

    voice: str  # a sentence that names it
    weights: str  # its digest
    language: str
    vocoder: str
    sentences: tuple[Sentence, ...]  # held out, the worst first
    free_running: FreeRun
    margin: float  # character errors beyond the recordings' up to which a voice is understood
    judges: Mapping[str, str | None]  # who listened: listener, whisper, dnsmos

    @property
    def means(self) -> dict[str, float | None]:
        """The figures of the voice, the mean over the sentences each."""
        return _means([sentence.voice for sentence in self.sentences])

    @property
    def recordings(self) -> dict[str, float | None]:
        """The same figures of the recordings after the same vocoder: no voice can be expected to be better."""
        return _means([sentence.recording for sentence in self.sentences])

    @property
    def length(self) -> float:
        """The length of all sentences, where 1 is that of their recordings."""
        return sum(one.voice.seconds for one in self.sentences) / sum(one.recording.seconds for one in self.sentences)

    @property
    def failures(self) -> float:
        """The share of the held-out sentences that have a fault."""
        return sum(bool(sentence.faults) for sentence in self.sentences) / len(self.sentences)

    @property
    def understood(self) -> bool | None:
        """True if it is understood nearly as well as the recordings; None without a listener that hears well enough."""
        errors, floor = self.means["cer"], self.recordings["cer"]
        return None if errors is None or floor is None else errors <= floor + self.margin

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "format": FORMAT,
            "voice": self.voice,
            "weights": self.weights,
            "language": self.language,
            "vocoder": self.vocoder,
            "understood": self.understood,
            "sentences": len(self.sentences),
            "failures": self.failures,
            "faults": counted([sentence.faults for sentence in self.sentences]),
            "length": self.length,
            **self.means,
            "recordings": self.recordings,
            "free_running": self.free_running.as_dict(),
            "judges": dict(self.judges),
            "spoken": [sentence.as_dict() for sentence in self.sentences],
        }


def counted(faults: Sequence[Sequence[Fault]]) -> dict[str, int]:
    """Return how many sentences have each fault, the most frequent first."""
    return dict(Counter(fault for some in faults for fault in some).most_common())


def _means(takes: Sequence[Take]) -> dict[str, float | None]:
    found, figures = {}, [take.as_dict() for take in takes]
    for name in MEANS:
        known = [one[name] for one in figures if one[name] is not None]
        found[name] = float(np.mean(known)) if known else None
    return found
