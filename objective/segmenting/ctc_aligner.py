"""Place words by the listener of a corpus in the same voice (model/listener.py), in any language."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import log_mel
from model.config import Audio
from model.listener import BLANK, SPACE, STACK, Listener, outputs
from objective.segmenting.aligning import Word
from objective.segmenting.ctc import best_path
from objective.segmenting.pauses import Span
from objective.segmenting.recording import Recording

Floats = NDArray[np.float32]

MARGIN_S = 0.1  # of pauses that stays beside speech, as in a corpus


class Ctc:
    """The seam's aligner for the voice that a listener has learnt."""

    def __init__(self, listener: Listener, audio: Audio, name: str) -> None:
        self.listener, self.audio, self.name = listener, audio, name
        self.step_s = STACK * audio.hop_samples / audio.rate_hz

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        likely, times = self._likely(recording, part, speech)
        words: list[Word] = []
        before = BLANK
        open_word = False
        for step, output in enumerate(likely.argmax(1).tolist()):
            if output not in (BLANK, SPACE) and output != before:
                letter, at = self.listener.language.letters[output - SPACE - 1], float(times[step])
                if open_word:
                    words[-1] = Word(words[-1].letters + letter, words[-1].start_s, at + self.step_s)
                else:
                    words.append(Word(letter, at, at + self.step_s))
                open_word = True
            open_word = open_word and output != SPACE
            before = output
        return words

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        likely, times = self._likely(recording, part, speech)
        places = best_path(likely, outputs(" ".join(texts), self.listener.language))
        if places is None:
            return None
        placed, first = [], 0
        for text in texts:
            inside = places[first : first + len(text)]
            placed.append(Span(float(times[inside[0, 0]]), float(times[inside[-1, 1]]) + self.step_s))
            first += len(text) + 1
        return placed

    @torch.no_grad()
    def _likely(self, recording: Recording, part: Span, speech: Sequence[Span]) -> tuple[Floats, Floats]:
        """Return log-probabilities (T, C) of the speech in a part, and the time of each step (T,).

        Longer pauses are left out, and the speech is made as loud as the corpus: so the listener hears what it has learnt.
        """
        mel = log_mel(recording.read(part.start_s, part.end_s, self.audio.rate_hz), self.audio)
        hop_s = self.audio.hop_samples / self.audio.rate_hz
        kept, spoken = np.zeros(len(mel), bool), np.zeros(len(mel), bool)
        for span in speech:
            first, last = round((span.start_s - part.start_s) / hop_s), round((span.end_s - part.start_s) / hop_s)
            spoken[max(0, first) : last + 1] = True
            kept[max(0, first - round(MARGIN_S / hop_s)) : last + 1 + round(MARGIN_S / hop_s)] = True
        times = part.start_s + np.flatnonzero(kept)[::STACK] * hop_s
        level = self.listener.mel_mean - float(mel[spoken].mean())
        heard = torch.from_numpy(mel[kept] + level).float()
        likely, _ = self.listener.likely(heard[None], torch.tensor([len(heard)]))
        return likely[0].numpy(), times.astype(np.float32)
