"""Choose who places the words, from what the user gives and what is installed."""

from collections.abc import Callable
from pathlib import Path

import torch

from model.errors import BadInput
from model.text.languages import Language
from objective.segmenting.aligning import Aligner
from objective.segmenting.ctc_aligner import Ctc
from objective.segmenting.pocketsphinx_aligner import Pocketsphinx
from objective.segmenting.whisper_aligner import Whisper
from objective.settings.resolve import resolve
from objective.trial.corpus import load_data, load_listener, speech_of

Announce = Callable[[str], None]


def choose(
    language: Language, whisper: Path | None, like: Path | None, kframes: int | None, out: Path, announce: Announce
) -> Aligner:
    """Return Whisper where its weights are given, else the listener of the corpus `like`, else pocketsphinx for English.

    A listener is trained first if there is none under `out`. Raises BadInput where none of them can be had.
    """
    if whisper is not None:
        return Whisper(whisper, language)
    if like is not None:
        return _listener(like, language, kframes, out, announce)
    if language.code == "en":
        return Pocketsphinx(language)
    ways = "--whisper MODEL (weights of faster-whisper) or --like CORPUS (recordings of the same voice that are cut already)"
    raise BadInput(f"need somebody who hears {language.code!r}: give {ways}")


def _listener(like: Path, language: Language, kframes: int | None, out: Path, announce: Announce) -> Aligner:
    given = {"out": str(out), "data.path": str(like), "data.language": language.code, "device": "cpu"}
    settings = resolve(None, [], given | ({} if kframes is None else {"listener.kframes": kframes}), gpu=False)
    announce(f"the listener of {like}")
    corpus = load_data(settings)
    ears = load_listener(settings, corpus, speech_of(corpus), torch.device("cpu"))
    if ears.listener is None or not ears.hears:
        raise BadInput(f"need a listener that hears the voice: {ears.note}: give --like more recordings, or a larger --kframes")
    return Ctc(ears.listener, settings.audio, f"the listener of {like.name} ({ears.errors:.1%} of held-out letters wrong)")
