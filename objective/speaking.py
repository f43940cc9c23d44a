"""Let a network speak freely: the fixed validation sentences, how they came out, and what a person looks at and listens to."""
from pathlib import Path

import numpy as np
import torch

from model.audio import griffin_lim, save
from model.config import Audio
from model.data.batching import Example, collate
from model.data.corpus import Utterance
from model.health import measure_alignment
from model.synthesis import Synthesis, synthesise
from model.tacotron2 import Tacotron2
from model.text.symbols import symbols
from objective.pictures import alignment, mels
from objective.score import Speaking, mcd

SENTENCES = 4


def sentences(validation: tuple[Utterance, ...]) -> list[int]:
    """Positions of the fixed sentences: the shortest text, the longest, and two evenly between."""
    order = sorted(range(len(validation)), key=lambda position: (len(validation[position].ids), validation[position].id))
    return [order[round(k * (len(order) - 1) / (SENTENCES - 1))] for k in range(SENTENCES)]


def speak(network: Tacotron2, examples: list[Example], device: torch.device) -> tuple[Synthesis, Speaking | None]:
    """Synthesise `examples` and measure them against their recordings; no measurement where what comes out is not finite."""
    batch = collate(examples).to(device)
    spoken = synthesise(network, batch.ids, batch.symbol_lengths)
    if not bool(torch.isfinite(spoken.mel).all()):
        return spoken, None
    measured = measure_alignment(spoken.alignment, spoken.step_lengths, batch.symbol_lengths)
    premature = spoken.stopped & (spoken.frame_lengths * 2 < batch.frame_lengths)
    distortions = [mcd(_mel(spoken, row), np.asarray(example.mel)) for row, example in enumerate(examples)]
    return spoken, Speaking(
        premature_rate=float(premature.float().mean()),
        overrun_rate=float((~spoken.stopped).float().mean()),
        alignment_score=float(measured["alignment_score"].mean()),
        mcd_db=float(np.mean(distortions)),
    )


def show(
    folder: Path, spoken: Synthesis, row: int, utterance: Utterance, example: Example, language: str, audio: Audio, title: str
) -> None:
    """alignment.png, mel.png and sample.wav of one row of what was spoken, the sentence of `utterance`."""
    steps, length = int(spoken.step_lengths[row]), len(utterance.ids)
    attention = spoken.alignment[row : row + 1, :steps, :length]
    lengths = (torch.tensor([size], device=attention.device) for size in (steps, length))
    measured = measure_alignment(attention, *lengths)
    table = symbols(language)
    alignment(
        folder / "alignment.png",
        attention[0].float().cpu().numpy(),
        [table[index] for index in utterance.ids],
        {name: float(value[0]) for name, value in measured.items()},
        f"{title}: attention, free running",
    )
    mel = _mel(spoken, row)
    mels(
        folder / "mel.png",
        mel,
        np.asarray(example.mel),
        spoken.gate[row, :steps].float().cpu().numpy(),
        f"{title}: {utterance.text}",
        audio.hop_samples / audio.rate_hz,
    )
    save(folder / "sample.wav", griffin_lim(mel, audio), audio)


def _mel(spoken: Synthesis, row: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return spoken.mel[row, : int(spoken.frame_lengths[row])].float().cpu().numpy()
