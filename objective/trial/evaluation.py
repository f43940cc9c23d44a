"""Let a network speak freely: the fixed sentences, how they came out, and what a person looks at and listens to."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from objective.trial.plots import alignment, gate, mels
from objective.trial.score import FreeRunning, mcd

RECORDED = 4  # of the sentences


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a network is asked to say."""

    text: str
    ids: tuple[int, ...]
    frames: float  # as long as it should be
    mel: NDArray[np.float32] | None = None  # the recording; None where nobody read it


def sentences(corpus: Corpus, speech: Speech) -> list[Sentence]:
    """From validation the shortest text, the longest and two evenly between; then one with repeated words."""
    known = corpus.validation
    order = sorted(range(len(known)), key=lambda position: (len(known[position].ids), known[position].id))
    chosen = [order[round(k * (len(order) - 1) / (RECORDED - 1))] for k in range(RECORDED)]
    mels = [np.asarray(speech.validation[position].mel) for position in chosen]
    recorded = [Sentence(known[i].text, known[i].ids, len(mel), mel) for i, mel in zip(chosen, mels, strict=True)]
    pace = float(np.median([utterance.sound.frames / len(utterance.ids) for utterance in known]))
    repeated = encode(corpus.language.repeated, corpus.language)
    return [*recorded, Sentence(repeated.text, repeated.ids, pace * len(repeated.ids))]


def speak(network: Tacotron2, asked: Sequence[Sentence], device: torch.device) -> tuple[Synthesis, FreeRunning | None]:
    """Say what is `asked` and measure it; no measurement where what comes out is not finite."""
    lengths = torch.tensor([len(sentence.ids) for sentence in asked], device=device)
    ids = torch.zeros(len(asked), int(lengths.max()), dtype=torch.int64)
    for row, sentence in enumerate(asked):
        ids[row, : len(sentence.ids)] = torch.tensor(sentence.ids)
    # A gate that does not fire is what is asked for here: nothing may make up for it.
    spoken = synthesise(network, ids.to(device), lengths, completed_frames=None)
    if not bool(torch.isfinite(spoken.mel).all()):
        return spoken, None
    measured = measure_alignment(spoken.alignment, spoken.step_lengths, lengths)
    expected = torch.tensor([sentence.frames for sentence in asked], device=device)
    stopped = torch.tensor([how == "gate" for how in spoken.ended], device=device)
    premature = stopped & (spoken.frame_lengths * 2 < expected)
    distortions = [mcd(_mel(spoken, row), sentence.mel) for row, sentence in enumerate(asked) if sentence.mel is not None]
    return spoken, FreeRunning(
        premature_rate=float(premature.float().mean()),
        overrun_rate=float((~stopped).float().mean()),
        alignment_score=float(measured["alignment_score"].mean()),
        mcd_db=float(np.mean(distortions)),
    )


def show(folder: Path, spoken: Synthesis, row: int, sentence: Sentence, language: Language, audio: Audio, title: str) -> None:
    """Pictures and sounds of one row of what was spoken: `sentence`, which somebody recorded.

    The reference is the recording after its mel and Griffin-Lim: it differs from the sample by what the network does alone.
    """
    assert sentence.mel is not None
    steps, length = int(spoken.step_lengths[row]), len(sentence.ids)
    attention = spoken.alignment[row : row + 1, :steps, :length]
    lengths = (torch.tensor([size], device=attention.device) for size in (steps, length))
    measured = measure_alignment(attention, *lengths)
    alignment(
        folder / "alignment.png",
        attention[0].float().cpu().numpy(),
        [language.symbols[index] for index in sentence.ids],
        {name: float(value[0]) for name, value in measured.items()},
        f"{title}: attention, free running",
    )
    mel, hop_seconds = _mel(spoken, row), audio.hop_samples / audio.rate_hz
    said = f"{title}: {sentence.text}"
    mels(folder / "mel.png", mel, sentence.mel, said, hop_seconds)
    probability, step_seconds = spoken.gate[row, :steps].float().cpu().numpy(), len(mel) * hop_seconds / steps
    gate(folder / "gate.png", probability, len(sentence.mel) * hop_seconds, said, step_seconds)
    for name, heard in (("sample", mel), ("reference", sentence.mel)):
        wave = griffin_lim(heard, audio)
        save(folder / f"{name}.wav", wave, audio)
        save_opus(folder / f"{name}.ogg", wave, audio)


def _mel(spoken: Synthesis, row: int) -> NDArray[np.float32]:
    return spoken.mel[row, : int(spoken.frame_lengths[row])].float().cpu().numpy()
