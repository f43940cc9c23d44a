"""Compare two voices on the same held-out sentences, in pairs, for `compare` (objective/compare.py)."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

from model.config import Audio
from model.errors import BadInput
from model.vocoders.loading import GRIFFIN_LIM, load_vocoder
from model.voice import Voice
from objective.display import listening
from objective.display.difference import PAIRS, Difference, paired
from objective.display.formatting import percent
from objective.settings.device import device_of
from objective.speech.find import FILES, find, opened
from objective.speech.quality.figures import Floats, Impression
from objective.speech.quality.held_out import held_out
from objective.speech.quality.measure import Share, heard, said
from objective.speech.quality.show import ogg
from objective.speech.recordings import settings_of
from objective.trial.corpus import phases
from objective.trial.judge import SENTENCES

TRAINING = ("--seeds", "--budget-kframes", "--workers", "--set", "--storage", "--language")  # flags of the other comparison


@dataclass(frozen=True, slots=True)
class Side:
    """The sentences by a voice, or as they were recorded, and what the listener hears of each."""

    name: str
    mels: Sequence[Floats]  # (F, M) natural log
    heard: Sequence[Impression]

    @property
    def errors(self) -> list[float]:
        """The character errors of each sentence; of a listener that hears, so none is unknown."""
        return [one.cer for one in self.heard if one.cer is not None]

    @property
    def values(self) -> list[float]:
        """The value of each sentence (objective/trial/score.py: speech)."""
        return [one.value for one in self.heard if one.value is not None]


def is_voice(name: str) -> bool:
    """Return whether a name is the file of a voice: all other files are settings."""
    path = Path(name)
    return path.suffix in FILES or (path.is_file() and path.suffix not in (".yaml", ".yml"))


def compared(parsed: argparse.Namespace, out: Path) -> tuple[list[Difference], str]:
    """Return how the voices A and B differ, and a page to listen to. Raises BadInput for voices that cannot be compared."""
    if flags := [flag for flag in TRAINING if any(typed.partition("=")[0] == flag for typed in parsed.typed)]:
        raise BadInput(f"two voices are compared without training, got {', '.join(flags)}: leave that out")
    names, device = (parsed.a, parsed.b), device_of(parsed.device or "auto")
    founds = [find(name, None, out, None) for name in names]
    voices = [opened(found, device) for found in founds]
    _require_alike(names, voices)
    known = 1 if voices[1].about.get("data") and not voices[0].about.get("data") else 0  # which one names its recordings
    settings = settings_of(founds[known], voices[known], getattr(parsed, "data.path"), out)
    settings = settings.model_copy(update={"quiet": parsed.quiet})
    held = held_out(settings, voices, device, SENTENCES)
    if not held.ears.hears:
        raise BadInput(f"need a listener that hears these recordings: {held.ears.note}")
    if len(held.judge.rows) < PAIRS:
        raise BadInput(f"need {PAIRS} held-out sentences or more, got {len(held.judge.rows)}: with fewer chance explains all")
    texts = [sentence.text for sentence in held.judge.sentences]
    recorded = [sentence.mel for sentence in held.judge.sentences]
    with phases(settings.quiet) as told:
        sides = []
        for count, (name, voice) in enumerate(zip(names, voices, strict=True)):
            told("saying the held-out sentences", count, len(voices))
            mels, _ = said(voice, held.judge)
            sides.append(Side(name, mels, heard(mels, texts, held.ears)))
        a, b = sides
        found = [paired("value", a.values, b.values), paired("letters heard wrong", a.errors, b.errors)]
        sides.append(Side("the recording", recorded, heard(recorded, texts, held.ears)))
        html = page(parsed.name, texts, sides, found, settings.audio, partial(told, "making the sounds"))
    return found, html


def page(
    title: str, texts: Sequence[str], sides: Sequence[Side], found: Sequence[Difference], audio: Audio, told: Share
) -> str:
    """Return the page: what was found, then players for each sentence, the one in which A and B differ most first."""
    vocoder = load_vocoder(GRIFFIN_LIM, audio)
    a, b = sides[0].values, sides[1].values
    rows = []
    for row in sorted(range(len(texts)), key=lambda row: abs(b[row] - a[row]), reverse=True):
        cells = [escape(texts[row])]
        for side in sides:
            mel, one = side.mels[row], side.heard[row]
            cells.append(listening.player(f"{percent(one.cer)} wrong", ogg(vocoder(mel), audio), one.heard))
        rows.append(cells)
        told(len(rows), len(texts))
    results = (f"<b>{escape(one.figure)}</b>: {escape(one.verdict)}" for one in found)
    head = ["sentence", *(f"{letter}{side.name}" for letter, side in zip(("A: ", "B: ", ""), sides, strict=True))]
    return listening.page(title, results, head, rows)


def _require_alike(names: tuple[str, str], voices: Sequence[Voice]) -> None:
    """Raise BadInput where the two voices could not be heard saying the same sentences."""
    a, b = voices
    alike = {
        "one language": a.language.code == b.language.code,
        "the same symbols": a.language.symbols == b.language.symbols,
        "the same audio settings": a.config.audio == b.config.audio,
    }
    for what, holds in alike.items():
        if not holds:
            raise BadInput(f"need voices of {what}, got {' and '.join(names)}, which differ: compare voices of one corpus")
    if a.about.get("data") != b.about.get("data"):
        print("A and B name different recordings: one may know sentences that were held out from the other", file=sys.stderr)
