"""The listener of a corpus: trained once, kept next to the mel cache, and shared by all workers and studies.

Its error rate on recordings that it was not trained on is the floor against which every voice is read.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from model import checkpoints
from model.data.corpus import Corpus
from model.data.loading import Loader
from model.files import alone
from model.listener import Listener, error_rate, spelled, train_listener
from model.trainer import Speech

SEED = 0
POOR = 0.3  # character errors on recordings from which on a listener cannot judge: it misses every third letter
_FORMAT = "tacotune listener 1"  # part of every key: raise it when the same recordings would give another listener
BATCH = 32  # utterances that are heard at once


@dataclass(frozen=True, slots=True)
class Ears:
    """A listener, and how well it hears the corpus's held-out recordings."""

    listener: Listener | None  # None: switched off
    errors: float = 1.0  # character error rate on the validation recordings

    @property
    def note(self) -> str:
        """Say at the start of a study how well it hears, and what judges the voices if it does not."""
        if self.listener is None:
            return "no listener (listener.kframes=0): voices are judged by alignment and stops alone"
        found = f"the listener hears {self.errors:.1%} of the letters of the held-out recordings wrong"
        if self.hears:
            return found
        rule = f"it judges no voice above {POOR:.0%}, so alignment and stops alone do"
        return f"{found}: {rule}; more recordings, or a larger listener.kframes, may help"

    @property
    def hears(self) -> bool:
        """Return True if it hears well enough to judge a voice."""
        return self.listener is not None and self.errors <= POOR


def load_ears(
    corpus: Corpus, fingerprint: str, speech: Speech, kframes: int, cache: Path, device: torch.device,
    progress: Callable[[int, int], None] | None = None, announce: Callable[[str], None] = lambda sentence: None,
    seed: int = SEED,
) -> Ears:  # fmt: skip
    """Return the listener of a corpus from the `cache` folder, trained first if there is none; 0 `kframes`: no listener.

    Of several processes on a machine one trains, and the others wait for it: `announce` gets a sentence. Studies judge by the
    listener of the default `seed`. Raises OSError for an unusable folder.
    """
    if kframes == 0:
        return Ears(None)
    key = hashlib.blake2b(json.dumps([_FORMAT, fingerprint, kframes, seed]).encode(), digest_size=16).hexdigest()
    path = cache / f"{key}.pt"
    if (found := _read(path, corpus, device)) is not None:
        return found
    announce("training the listener, once for this corpus, or waiting for another process that does")
    with alone(cache / f"{key}.lock"):
        if (found := _read(path, corpus, device)) is not None:
            return found
        listener = train_listener(corpus, speech.train, kframes, device, seed, progress)
        ears = Ears(listener, errors_of(listener, corpus, speech, device))
        checkpoints.save(path, {**listener.state(), "errors": ears.errors})
        return ears


def errors_of(listener: Listener, corpus: Corpus, speech: Speech, device: torch.device) -> float:
    """Return the character error rate on the validation recordings."""
    loader, texts = Loader(speech.validation, device), [utterance.text for utterance in corpus.validation]
    heard: list[str] = []
    for start in range(0, len(texts), BATCH):
        batch = loader(range(start, min(start + BATCH, len(texts))))
        found = listener.hear(batch.mels, batch.frame_lengths, texts[start : start + BATCH])
        heard += [utterance.text for utterance in found]
    return error_rate([spelled(text, corpus.language) for text in texts], heard)


def _read(path: Path, corpus: Corpus, device: torch.device) -> Ears | None:
    with suppress(FileNotFoundError, ValueError, KeyError, RuntimeError):  # absent, damaged, or of another version
        state = checkpoints.load(path)
        return Ears(Listener.restored(state, corpus.language, device), float(state["errors"]))
    return None
