"""A recording of tones, one for each word, and an aligner that knows which word each tone is: all but the acoustics."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from objective.segmenting.aligning import Word
from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording

RATE_HZ = 16_000
LETTER_S, PAUSE_S = 0.08, 0.5


class Oracle:
    """Hears every word but those that are `misheard`; places as many texts as it has words."""

    name = "an oracle"

    def __init__(self, words: Sequence[Word], misheard: dict[str, str]) -> None:
        self.words, self.misheard = words, misheard

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        return [Word(self.misheard.get(word.letters, word.letters), *word[1:]) for word in self._inside(part)]

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        words = self._inside(part)
        return [Span(*word[1:]) for word in words] if len(words) == len(texts) else None

    def _inside(self, part: Span) -> list[Word]:
        return [word for word in self.words if part.start_s <= word.middle_s < part.end_s]


def speak(phrases: Sequence[str], path: Path, misheard: dict[str, str] | None = None) -> tuple[Recording, list[Span], Oracle]:
    """Write phrases with pauses between them; return the recording, its speech, and an aligner for it."""
    waves, spans, words, at_s = [], [], [], 0.0
    for phrase in phrases:
        begin = at_s
        for number, word in enumerate(phrase.split()):
            seconds = LETTER_S * len(word)
            times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
            waves.append(0.3 * np.sin(2 * np.pi * (200 + 50 * number) * times))
            words.append(Word(word, at_s, at_s + seconds))
            at_s += seconds
        spans.append(Span(begin, at_s))
        waves.append(np.zeros(round(PAUSE_S * RATE_HZ)))
        at_s += PAUSE_S
    soundfile.write(path, np.concatenate(waves), RATE_HZ)
    return Recording.open(path), spans, Oracle(words, misheard or {})
