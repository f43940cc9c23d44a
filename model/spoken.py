"""Figures of sentences that a voice said free-running, and the faults that a person would name.

Loads without torch, so that readers of stored figures need none.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jiwer
import numpy as np
from numpy.typing import NDArray

Fault = Literal["endless", "cut", "stuck", "repeated", "skipped", "mumbled", "late"]

STOP_TOLERANCE_S = 0.2  # between the end of the speech and the stop
STUCK_S = 0.5  # beyond the longest pause of the recordings: attention that stays on one place of the text for longer
WORD = 4  # letters missing, or too many, in one place: a listener that errs in 12 % of the letters never errs so in recordings
WORD_SYMBOLS = 6  # the same for attention, which may be a symbol or two off
END_SYMBOLS = 3  # attention on one of the last symbols has read to the end


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence as it came out. None stands for what could not be measured."""

    text: str
    seconds: float
    recorded_s: float  # of its recording
    stop_s: float | None  # from the last sound to the stop, less what recordings have there; None: it never stopped
    silence: float  # share of silent frames between the first and the last sound
    heard: str | None = None  # the letters that the listener heard; None without one that hears well
    errors: float | None = None  # character error rate
    surprise: float | None = None  # 1 is that of guessing (model/listener.py)
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class FreeRunning:
    """All free-running sentences of a network, with what the same listener makes of their recordings."""

    sentences: tuple[Spoken, ...]  # the shortest text first
    alignment_score: float  # of the free-running attention
    mcd_db: float  # mel-cepstral distortion after time warping, mean over the sentences
    recorded_errors: float | None = None  # character error rate of the recordings, the floor; None without such a listener
    recorded_silence: float = 0.0

    @property
    def errors(self) -> float | None:
        """The mean character error rate of the sentences, at most 1 each; None without a listener that hears well."""
        return _mean([None if spoken.errors is None else min(1.0, spoken.errors) for spoken in self.sentences])

    @property
    def surprise(self) -> float | None:
        """The mean surprise of the listener, where 1 is that of guessing."""
        return _mean([spoken.surprise for spoken in self.sentences])

    @property
    def failures(self) -> float:
        """The share of the sentences that have a fault."""
        return sum(bool(spoken.faults) for spoken in self.sentences) / len(self.sentences)

    @property
    def length(self) -> float:
        """The length of all sentences, where 1 is that of their recordings."""
        return sum(spoken.seconds for spoken in self.sentences) / sum(spoken.recorded_s for spoken in self.sentences)

    @property
    def silence(self) -> float:
        return sum(spoken.silence for spoken in self.sentences) / len(self.sentences)

    @property
    def middle(self) -> Spoken:
        """The sentence of middle length, which is the sample that a person hears."""
        return self.sentences[len(self.sentences) // 2]

    @property
    def worst(self) -> Spoken:
        """The sentence with the most errors, or without a listener with the most faults; among equals the longest."""
        return max(self.sentences, key=severity)

    def summary(self) -> dict[str, Any]:
        """Return the figures, and the middle and the worst sentence, as JSON values; what could not be measured is left out."""
        middle, worst = self.middle, self.worst
        known = {
            "errors": self.errors,
            "recorded_errors": self.recorded_errors,
            "surprise": self.surprise,
            "failures": self.failures,
            "faults": dict(Counter(fault for spoken in self.sentences for fault in spoken.faults)),
            "sentences": len(self.sentences),
            "length": self.length,
            "silence": self.silence,
            "recorded_silence": self.recorded_silence,
            "alignment_score": self.alignment_score,
            "mcd_db": self.mcd_db,
            "text": middle.text,
            "heard": middle.heard,
            "worst_text": worst.text,
            "worst_heard": worst.heard,
            "worst_errors": worst.errors,
        }
        return {name: value for name, value in known.items() if value is not None}


def severity(spoken: Spoken) -> tuple[float, int, int]:
    """Return the key that sorts sentences, the worst last: by errors, then by faults, then by length."""
    return spoken.errors or 0.0, len(spoken.faults), len(spoken.text)


def stop_faults(stop_s: float | None) -> list[Fault]:
    """Return the fault of a stop `stop_s` seconds after the speech has ended, where recordings end; None: it never stopped."""
    if stop_s is None:
        return ["endless"]
    return ["late"] if stop_s > STOP_TOLERANCE_S else []


def misheard(text: str, heard: str, understood: bool) -> list[Fault]:
    """Return the fault in what was heard of a text, both as letters: a word missing or too many, or not `understood` at all."""
    pieces = [piece for piece in jiwer.process_characters(text, heard).alignments[0] if piece.type in ("delete", "insert")]
    longest = max(pieces, key=_length, default=None)
    if longest is None or _length(longest) < WORD:
        return [] if understood else ["mumbled"]
    if longest.type == "insert":
        return ["repeated"]
    return ["cut" if longest.ref_end_idx == len(text) else "skipped"]


def misread(positions: NDArray[np.intp], symbols: int, step_s: float, pause_s: float) -> list[Fault]:
    """Return the faults of a reading: the symbol (T,) that each decoder step attended to most, in a text of `symbols`.

    pause_s: the longest pause inside a recording, in seconds.
    """
    found: list[Fault] = []
    if positions.max() < symbols - END_SYMBOLS:
        found.append("cut")
    if _longest_stay(positions) * step_s > pause_s + STUCK_S:
        found.append("stuck")
    if np.diff(positions).min(initial=0) <= -WORD_SYMBOLS:
        found.append("repeated")
    if _unread(positions) >= WORD_SYMBOLS:
        found.append("skipped")
    return found


def _unread(positions: NDArray[np.intp]) -> int:
    """Return the length of the longest run of symbols that no step attended to, before the furthest one that was read."""
    read = np.unique(np.concatenate([[-1], positions]))
    return int(np.diff(read).max()) - 1


def _longest_stay(positions: NDArray[np.intp]) -> int:
    """Return the most consecutive steps within one symbol of where they began."""
    longest = start = 0
    for step, position in enumerate(positions):
        if abs(position - positions[start]) > 1:
            start = step
        longest = max(longest, step - start + 1)
    return longest


def _length(piece: Any) -> int:
    return int(max(piece.ref_end_idx - piece.ref_start_idx, piece.hyp_end_idx - piece.hyp_start_idx))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
