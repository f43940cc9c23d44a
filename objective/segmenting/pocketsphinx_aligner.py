"""Place English words by pocketsphinx: hidden Markov models and a dictionary that come with its package."""

from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any

import numpy as np

from model.errors import BadInput
from model.listener import spelled
from model.text.languages import Language
from objective.segmenting.aligning import Word
from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording

RATE_HZ, FRAME_S = 16_000, 0.01
HOW_TO = "need pocketsphinx for English, which is not installed: pip install 'tacotune[segment]', or give --whisper or --like"
# A word that the dictionary lacks, mostly a name, is placed by a rough reading of its letters.
_SOUNDS = {
    "sch": "SH", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K", "ng": "NG", "qu": "K W", "wh": "W", "ee": "IY",
    "ea": "IY", "oo": "UW", "ou": "AW", "ow": "AW", "ai": "EY", "ay": "EY", "ey": "EY", "ei": "EY", "au": "AO", "oa": "OW",
    "ie": "IY", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V",
    "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip


class Pocketsphinx:
    """The seam's aligner for English."""

    def __init__(self, language: Language) -> None:
        try:
            pocketsphinx = import_module("pocketsphinx")
        except ImportError as why:
            raise BadInput(HOW_TO) from why
        self.language = language
        self.name = f"pocketsphinx {metadata.version('pocketsphinx')}"
        self._hears: Any = pocketsphinx.Decoder(loglevel="FATAL")
        self._places: Any = pocketsphinx.Decoder(lm=None, loglevel="FATAL")

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        _listen(self._hears, recording, part)
        return [
            Word(spelled(segment.word.partition("(")[0], self.language), *_times(segment, part))
            for segment in self._hears.seg() or ()
            if segment.word[0] not in "<["
        ]

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        words = [[word for word in text.split() if self._pronounceable(word)] for text in texts]
        if not all(words):
            return None
        try:
            self._places.set_align_text(" ".join(word for group in words for word in group))
            _listen(self._places, recording, part)
            found = [_times(segment, part) for segment in self._places.seg() or () if segment.word[0] not in "<["]
        except RuntimeError:  # no path through the sound
            return None
        if len(found) != sum(map(len, words)):
            return None
        placed, first = [], 0
        for group in words:
            placed.append(Span(found[first][0], found[first + len(group) - 1][1]))
            first += len(group)
        return placed

    def _pronounceable(self, word: str) -> bool:
        """Return True once the dictionary has the word, with a rough reading if it is new."""
        if self._places.lookup_word(word) is None:
            sounds, at = [], 0
            while at < len(word):
                size = next((size for size in (3, 2, 1) if word[at : at + size] in _SOUNDS), 0)
                sounds += [_SOUNDS[word[at : at + size]]] if size else []
                at += max(1, size)
            if not sounds:
                return False
            self._places.add_word(word, " ".join(sounds), True)
        return True


def _listen(decoder: Any, recording: Recording, part: Span) -> None:
    wave = recording.read(part.start_s, part.end_s, RATE_HZ)
    decoder.start_utt()
    decoder.process_raw((wave * 32_767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()


def _times(segment: Any, part: Span) -> tuple[float, float]:
    return part.start_s + segment.start_frame * FRAME_S, part.start_s + (segment.end_frame + 1) * FRAME_S
