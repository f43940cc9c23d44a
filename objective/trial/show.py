"""Write pictures and sounds of a trial: one free-running sentence, and its recording."""

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.audio import save, save_opus
from model.config import Audio
from model.files import atomic_write
from model.health import measure_alignment
from model.spoken import FreeRunning, severity
from model.synthesis import Synthesis
from model.text.languages import Language
from model.vocoders.loading import GRIFFIN_LIM, load_vocoder
from objective.trial.judge import Judge, Sentence, mel_of
from objective.trial.plots import alignment, gate, mels


def show(folder: Path, output: Synthesis, judge: Judge, audio: Audio, title: str, dpi: int) -> None:
    """Write the pictures and sounds of the sentence of middle length."""
    row, sentence = judge.middle, judge.sentences[judge.middle]
    draw(folder, output, row, sentence, judge.language, audio.hop_samples / audio.rate_hz, title, dpi)
    waves = {
        "sample": _wave(mel_of(output, row), audio),
        "reference": _reference(sentence.mel.tobytes(), sentence.mel.shape, audio),
    }
    for name, wave in waves.items():
        save(folder / f"{name}.wav", wave, audio)
        save_opus(folder / f"{name}.ogg", wave, audio)


def write_sentences(path: Path, spoken: FreeRunning) -> None:
    """Write every sentence with its figures and what was heard, the worst first."""
    order = sorted(spoken.sentences, key=severity, reverse=True)
    with atomic_write(path) as part:
        part.write_text(json.dumps([asdict(sentence) for sentence in order], ensure_ascii=False, indent=1), encoding="utf-8")


def draw(
    folder: Path, output: Synthesis, row: int, sentence: Sentence, language: Language, hop_seconds: float, title: str, dpi: int
) -> None:
    """Draw the attention, the mel and the stop token (gate) of one row of a synthesis."""
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
    mel, headline = mel_of(output, row), f"{title}: {sentence.text}"
    mels(folder / "mel.png", mel, sentence.mel, headline, hop_seconds, dpi)
    probability, step_seconds = output.gate[row, :steps].float().cpu().numpy(), len(mel) * hop_seconds / steps
    gate(folder / "gate.png", probability, len(sentence.mel) * hop_seconds, headline, step_seconds, dpi)


def _wave(mel: NDArray[np.float32], audio: Audio) -> NDArray[np.float32]:
    """Return what a mel sounds like, at the loudness of all samples."""
    return load_vocoder(GRIFFIN_LIM, audio)(mel)


@lru_cache(maxsize=1)
def _reference(content: bytes, shape: tuple[int, int], audio: Audio) -> NDArray[np.float32]:
    """Return the recording after its mel and Griffin-Lim: it differs from the sample by what the network does alone.

    All trials of a worker have the same one, and Griffin-Lim is most of what their sounds cost.
    """
    return _wave(np.frombuffer(content, np.float32).reshape(shape), audio)
