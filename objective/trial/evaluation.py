"""Free-running synthesis at the end of a trial: how the fixed sentences come out, and what a person sees and hears of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import griffin_lim, save, save_opus
from model.config import Audio
from model.data.corpus import Corpus
from model.health import measure_alignment
from model.synthesis import Synthesis, synthesise
from model.tacotron2 import Tacotron2
from model.text.frontend import encode
from model.text.languages import Language
from model.trainer import Speech
from objective.trial.loudness import normalised
from objective.trial.plots import alignment, gate, mels
from objective.trial.score import FreeRunning, mcd

RECORDED = 4  # of the sentences
HEADROOM = 3.0  # natural log: mels are lowered by it before they become a wave, which would clip otherwise


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text to synthesise."""

    text: str
    ids: tuple[int, ...]
    frames: float  # expected length
    mel: NDArray[np.float32] | None = None  # the recording; None where there is none


def sentences(corpus: Corpus, speech: Speech) -> list[Sentence]:
    """Return the shortest text of the validation set, the longest and two evenly between; then one with repeated words."""
    utterances = corpus.validation
    order = sorted(range(len(utterances)), key=lambda place: (len(utterances[place].ids), utterances[place].id))
    chosen = [order[round(k * (len(order) - 1) / (RECORDED - 1))] for k in range(RECORDED)]
    recorded = []
    for place in chosen:
        mel = np.asarray(speech.validation[place].mel)
        recorded.append(Sentence(utterances[place].text, utterances[place].ids, len(mel), mel))
    pace = float(np.median([utterance.sound.frames / len(utterance.ids) for utterance in utterances]))
    repeated = encode(corpus.language.repeated, corpus.language)
    return [*recorded, Sentence(repeated.text, repeated.ids, pace * len(repeated.ids))]


def middle(corpus: Corpus, requested: Sequence[Sentence]) -> int:
    """Return the place of the sentence to show: of those with a recording the one nearest to the median length."""
    median = float(np.median([len(utterance.ids) for utterance in corpus.validation]))
    recorded = [place for place, sentence in enumerate(requested) if sentence.mel is not None]
    return min(recorded, key=lambda place: abs(len(requested[place].ids) - median))


def evaluate(network: Tacotron2, requested: Sequence[Sentence], device: torch.device) -> tuple[Synthesis, FreeRunning | None]:
    """Synthesise the `requested` sentences and measure them; no measurement where the output is not finite."""
    lengths = torch.tensor([len(sentence.ids) for sentence in requested], device=device)
    ids = torch.zeros(len(requested), int(lengths.max()), dtype=torch.int64)
    for row, sentence in enumerate(requested):
        ids[row, : len(sentence.ids)] = torch.tensor(sentence.ids)
    # The stop token (gate) is what is measured here: nothing may make up for one that does not fire.
    output = synthesise(network, ids.to(device), lengths, completed_frames=None)
    if not bool(torch.isfinite(output.mel).all()):
        return output, None
    measured = measure_alignment(output.alignment, output.step_lengths, lengths)
    expected = torch.tensor([sentence.frames for sentence in requested], device=device)
    stopped = torch.tensor([how == "gate" for how in output.ended], device=device)
    premature = stopped & (output.frame_lengths * 2 < expected)
    distortions = [mcd(_mel(output, row), sentence.mel) for row, sentence in enumerate(requested) if sentence.mel is not None]
    return output, FreeRunning(
        premature_rate=float(premature.float().mean()),
        overrun_rate=float((~stopped).float().mean()),
        alignment_score=float(measured["alignment_score"].mean()),
        mcd_db=float(np.mean(distortions)),
    )


def show(
    folder: Path, output: Synthesis, row: int, sentence: Sentence, language: Language, audio: Audio, title: str, dpi: int
) -> None:
    """Write the pictures and sounds of one row of a synthesis, whose `sentence` has a recording."""
    assert sentence.mel is not None
    mel = _mel(output, row)
    draw(folder, output, row, sentence, language, audio.hop_samples / audio.rate_hz, title, dpi)
    waves = {"sample": _wave(mel, audio), "reference": _reference(sentence.mel.tobytes(), sentence.mel.shape, audio)}
    for name, wave in waves.items():
        save(folder / f"{name}.wav", wave, audio)
        save_opus(folder / f"{name}.ogg", wave, audio)


def draw(
    folder: Path, output: Synthesis, row: int, sentence: Sentence, language: Language, hop_seconds: float, title: str, dpi: int
) -> None:
    """Draw the attention, the mel and the stop token (gate) of one row of a synthesis."""
    assert sentence.mel is not None
    steps, length = int(output.step_lengths[row]), len(sentence.ids)
    attention = output.alignment[row : row + 1, :steps, :length]
    lengths = (torch.tensor([size], device=attention.device) for size in (steps, length))
    measured = measure_alignment(attention, *lengths)
    alignment(
        folder / "alignment.png",
        attention[0].float().cpu().numpy(),
        [language.symbols[index] for index in sentence.ids],
        {name: float(value[0]) for name, value in measured.items()},
        f"{title}: attention, free-running",
        dpi,
    )
    mel, headline = _mel(output, row), f"{title}: {sentence.text}"
    mels(folder / "mel.png", mel, sentence.mel, headline, hop_seconds, dpi)
    probability, step_seconds = output.gate[row, :steps].float().cpu().numpy(), len(mel) * hop_seconds / steps
    gate(folder / "gate.png", probability, len(sentence.mel) * hop_seconds, headline, step_seconds, dpi)


def _wave(mel: NDArray[np.float32], audio: Audio) -> NDArray[np.float32]:
    """Return what a mel sounds like, at the loudness of all samples."""
    return normalised(griffin_lim(mel - HEADROOM, audio), audio.rate_hz)


@lru_cache(maxsize=1)
def _reference(content: bytes, shape: tuple[int, int], audio: Audio) -> NDArray[np.float32]:
    """Return the recording after its mel and Griffin-Lim: it differs from the sample by what the network does alone.

    All trials of a worker have the same one, and Griffin-Lim is most of what their sounds cost.
    """
    return _wave(np.frombuffer(content, np.float32).reshape(shape), audio)


def _mel(output: Synthesis, row: int) -> NDArray[np.float32]:
    return output.mel[row, : int(output.frame_lengths[row])].float().cpu().numpy()
