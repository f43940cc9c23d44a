"""Prepare what voices are measured on: the held-out sentences of their recordings, and who listens."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.data.corpus import Corpus
from model.voice import Voice
from objective.settings.schema import Settings
from objective.speech.recordings import corpus_of
from objective.trial.corpus import load_listener, speech_of
from objective.trial.ears import Ears, errors_of
from objective.trial.judge import Judge

UNKNOWN = (
    "the voice does not say on which recordings it was trained: if these are among them, it may have been trained on some of "
    "the sentences that are held out here"
)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out sentences, in a judge, and the listener with its origin."""

    corpus: Corpus
    judge: Judge
    ears: Ears
    listener: str


def held_out(settings: Settings, voices: Sequence[Voice], device: torch.device, sentences: int) -> HeldOut:
    """Read the recordings of voices of one language and one audio, and find the listener that judges all of them.

    It is the one in the file of the first voice that has one, else that of the corpus: from the cache, or trained now. Raises
    CorpusError for the recordings.
    """
    corpus = corpus_of(settings, voices[0])
    if not all(voice.about.get("data") for voice in voices):
        print(UNKNOWN, file=sys.stderr)
    speech = speech_of(corpus)
    own = next((voice.listener for voice in voices if voice.listener is not None), None)
    if own is None:
        ears, listener = load_listener(settings, corpus, speech, device), "of the corpus"
    else:
        ears, listener = Ears(own, errors_of(own, corpus, speech, device)), "of the voice"
    print(f"{ears.note} (it is the listener {listener})" if ears.listener else ears.note, file=sys.stderr, flush=True)
    hop_s = settings.audio.hop_samples / settings.audio.rate_hz
    judge = Judge(corpus, speech, ears, hop_s, settings.health.targets.mumbled, device, sentences)
    return HeldOut(corpus, judge, ears, listener)
