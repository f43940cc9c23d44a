"""The judge of all trials: it listens to a network that says the validation sentences free-running.

Each sentence is heard by the listener, read off its attention, and compared with its recording.
B sentences, F mel frames, T decoder steps, N symbols.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.corpus import Corpus
from model.data.loading import Loader
from model.distortion import mcd
from model.health import measure_alignment
from model.listener import error_rate, spelled
from model.memory import Relief, in_parts, nothing_to_free
from model.silence import longest_pause, silent_share, sounding
from model.spoken import Fault, FreeRunning, Spoken, misheard, misread, stop_faults
from model.synthesis import Synthesis, joined, synthesise
from model.tacotron2 import Tacotron2
from model.trainer import Speech
from objective.trial.ears import Ears

SENTENCES = 32  # at most, of a trial
COST_SHARE = 0.02  # of a trial's time that judging it on the way may take; a frame judged takes as long as a frame trained on
PATIENCE, PATIENCE_S = 2.0, 1.0  # a sentence that is longer than twice its recording and a second is endless


@dataclass(frozen=True, slots=True)
class Sentence:
    """A validation sentence and its recording."""

    text: str
    ids: tuple[int, ...]
    mel: NDArray[np.float32]  # (F, M) natural log


class Judge:
    """Judges networks by up to `most` validation sentences, the shortest and the longest included, in one batch."""

    def __init__(
        self, corpus: Corpus, speech: Speech, ears: Ears, hop_s: float, mumbled: float, device: torch.device,
        most: int = SENTENCES,
    ) -> None:  # fmt: skip
        """mumbled: character errors beyond those of the recordings, from which on a sentence is not understood."""
        self.language, self.ears, self.hop_s, self.device = corpus.language, ears, hop_s, device
        self.limit = ears.errors + mumbled
        order = sorted(
            range(len(speech.validation)), key=lambda row: (len(corpus.validation[row].ids), corpus.validation[row].id)
        )
        count = min(most, len(order))
        self.rows = rows = [order[round(place * (len(order) - 1) / max(1, count - 1))] for place in range(count)]
        self.sentences = [
            Sentence(corpus.validation[row].text, corpus.validation[row].ids, np.array(speech.validation[row].mel))
            for row in rows
        ]
        self.recordings = Loader([speech.validation[row] for row in rows], device)(range(count))
        lengths = self.recordings.frame_lengths
        self.tail = float((lengths - 1 - sounding(self.recordings.mels, lengths)[1]).double().median())  # frames
        self.pause_s = int(longest_pause(self.recordings.mels, lengths).max()) * hop_s
        self.silence = float(silent_share(self.recordings.mels, lengths).mean())
        self.frames = int(lengths.sum())
        self.middle = count // 2  # as in model/spoken.py: the sentence that is shown

    def __call__(self, network: Tacotron2, relief: Relief = nothing_to_free) -> tuple[Synthesis, FreeRunning | None]:
        """Synthesise the sentences free-running and judge them; None where the synthesis is not finite.

        All in one batch, or in parts where memory is short and `relief` has nothing left to free.
        """
        batch = self.recordings
        # The stop token (gate) is judged here: nothing may make up for one that does not fire.
        most = (batch.frame_lengths * PATIENCE + PATIENCE_S / self.hop_s).long()

        def say(rows: list[int]) -> Synthesis:
            ids, lengths = batch.ids[rows], batch.symbol_lengths[rows]
            return synthesise(network, ids, lengths, completed_frames=None, most_frames=most[rows])

        everyone = range(len(self.sentences))
        output = joined(in_parts(everyone, len(everyone), say, relief, self.device))
        finite = bool(torch.isfinite(output.mel).all())
        return output, self.judged(output, network.network.reduction) if finite else None

    def judged(self, output: Synthesis, reduction: int) -> FreeRunning:
        """Judge what a network of this reduction factor made of the sentences."""
        measured = measure_alignment(output.alignment, output.step_lengths, self.recordings.symbol_lengths)
        distortions = [mcd(mel_of(output, row), sentence.mel) for row, sentence in enumerate(self.sentences)]
        return FreeRunning(
            sentences=tuple(self._spoken(output, reduction)),
            alignment_score=float(measured["alignment_score"].mean()),
            mcd_db=float(np.mean(distortions)),
            recorded_errors=self.ears.errors if self.ears.hears else None,
            recorded_silence=self.silence,
        )

    def _spoken(self, output: Synthesis, reduction: int) -> list[Spoken]:
        """Return the figures of each sentence."""
        texts = [sentence.text for sentence in self.sentences]
        letters = [spelled(text, self.language) for text in texts]
        listener = self.ears.listener if self.ears.hears else None
        heard = [None] * len(texts) if listener is None else listener.hear(output.mel, output.frame_lengths, texts)
        last = sounding(output.mel, output.frame_lengths)[1].tolist()
        silence = silent_share(output.mel, output.frame_lengths).tolist()
        positions = output.alignment.argmax(2).cpu().numpy()
        spoken = []
        for row, sentence in enumerate(self.sentences):
            frames, steps = int(output.frame_lengths[row]), int(output.step_lengths[row])
            stop_s = (frames - 1 - last[row] - self.tail) * self.hop_s if output.ended[row] == "gate" else None
            found: list[Fault] = stop_faults(stop_s)
            said, errors = heard[row], None
            read = misread(positions[row, :steps], len(sentence.ids), reduction * self.hop_s, self.pause_s)
            if said is None:
                found += read
            else:
                errors = error_rate([letters[row]], [said.text])
                found += misheard(letters[row], said.text, understood=errors <= self.limit)
                found += (fault for fault in read if fault == "stuck")  # a held sound is heard as one letter
            spoken.append(
                Spoken(
                    text=sentence.text,
                    seconds=frames * self.hop_s,
                    recorded_s=len(sentence.mel) * self.hop_s,
                    stop_s=stop_s,
                    silence=silence[row],
                    heard=None if said is None else said.text,
                    errors=errors,
                    surprise=None if said is None else said.surprise,
                    faults=tuple(found),
                )
            )
        return spoken


def due(mark: int, before: int, budget_kframes: float, reports: int, frames: int) -> bool:
    """Return whether a trial is judged at the report `mark` of `reports`, given the mark of the report `before` it; 0 is none.

    The last report is judged always. On the way as many are as cost less than COST_SHARE of the budget, evenly spaced: with
    `frames` frames in all sentences. Not by the clock, so that two runs with one seed keep the same snapshot.
    """
    count = min(reports, max(1, int(COST_SHARE * 1_000 * budget_kframes / frames)))
    return mark * count // reports > before * count // reports


def mel_of(output: Synthesis, row: int) -> NDArray[np.float32]:
    """Return the mel (F, M) of one sentence without its padding."""
    return output.mel[row, : int(output.frame_lengths[row])].float().cpu().numpy()
