"""Load what a trainer needs, from the settings: the checkpoint, and the corpus, synthesised first if there is none."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from model.data.corpus import Corpus, Utterance, load_corpus
from model.data.demo import speak_corpus
from model.data.loading import Example
from model.data.mels import open_mel
from model.text.languages import Language
from model.trainer import Speech
from model.warmstart import Pretrained, read
from objective.settings.schema import Settings, SettingsError
from objective.trial.ears import Ears, load_ears

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress

Told = Callable[[str, float, float], None]  # (what is done, how much of it, of how much)

FRAMES_IN_MEMORY = 1_000_000  # 3 hours, 320 MB
CORPUS_SEED = 0  # of the built-in corpus and of random splits, so that all studies of a corpus have the same data


def load_pretrained(settings: Settings) -> Pretrained | None:
    """Return the checkpoint from which every trial starts, if any. Raises SettingsError for a file that is none."""
    path = settings.study.warm_start
    try:
        return None if path is None else read(path)
    except ValueError as why:
        raise SettingsError([f"study.warm_start: {why}"]) from why


def load_data(settings: Settings, language: Language | None = None) -> Corpus:
    """Return the corpus of the settings, checked and analysed, with progress bars on a terminal.

    language: of the texts, with the symbols of a voice; None: that of the settings.
    """
    data, language = settings.data, language or settings.data.spoken()
    with progress(settings.quiet) as bars:

        def bar(text: str) -> "Bar":
            return Bar(bars, text)

        path = data.path
        if path is None:
            try:
                corpora, told = settings.out / "corpora", bar("synthesising the built-in corpus")
                path = speak_corpus(corpora, language, CORPUS_SEED, data.demo_utterances, data.demo, told)
            except ValueError as why:
                raise SettingsError([f"data.demo_utterances: {why}"]) from why
        return load_corpus(
            path,
            language,
            settings.audio,
            settings.out / "cache" / "mels",
            data.limits,
            data.validation_utterances,
            CORPUS_SEED,
            bar("reading the recordings"),
            data.margin_s,
            data.columns,
            bar(f"reading the texts as {language.input}"),
        )


def progress(quiet: bool) -> "Progress":
    """Return a display of progress bars, empty where there is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    terminal = Console(stderr=True)
    return Progress(console=terminal, transient=True, disable=quiet or not terminal.is_interactive)


def load_listener(settings: Settings, corpus: Corpus, speech: Speech, device: "torch.device") -> Ears:
    """Return the listener of the corpus, trained first if there is none, with a progress bar on a terminal."""
    with progress(settings.quiet) as bars:
        return load_ears(
            corpus,
            fingerprint(corpus),
            speech,
            settings.listener.kframes if os.environ.get("RANK", "0") == "0" else 0,  # other ranks of torchrun never judge
            settings.out / "cache" / "listeners",
            device,
            Bar(bars, "training the listener"),
            lambda sentence: None if not bars.disable or settings.quiet else print(sentence, file=sys.stderr, flush=True),
        )


class Bar:
    """One task of a progress display, called with (done, total)."""

    def __init__(self, bars: "Progress", text: str) -> None:
        self.bars, self.task = bars, bars.add_task(text, total=None)

    def __call__(self, done: float, total: float) -> None:
        self.bars.update(self.task, completed=done, total=total)


@contextmanager
def phases(quiet: bool = False) -> Iterator[Told]:
    """Yield what shows how far a phase is: a bar on a terminal, else a line at its start."""
    with progress(quiet) as bars:
        known: dict[str, Bar] = {}

        def told(what: str, done: float, total: float) -> None:
            if what not in known:
                known[what] = Bar(bars, what)
                if bars.disable:
                    print(what, file=sys.stderr, flush=True)
            known[what](done, total)

        yield told


class Recordings(Sequence[Example]):
    """Utterances whose mels are mapped from their files when a batch needs them: an open file for each would be too many."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self.utterances = utterances

    def __len__(self) -> int:
        return len(self.utterances)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return Recordings(self.utterances[index])
        utterance = self.utterances[index]
        return Example(utterance.ids, open_mel(utterance.sound))


def speech_of(corpus: Corpus) -> Speech:
    """Return the examples to train on: a small corpus in memory, a large one read batch by batch."""
    train: Sequence[Example] = Recordings(corpus.train)
    validation: Sequence[Example] = Recordings(corpus.validation)
    frames = sum(utterance.sound.frames for utterance in (*corpus.train, *corpus.validation))
    if frames <= FRAMES_IN_MEMORY:
        train, validation = ([Example(example.ids, np.array(example.mel)) for example in part] for part in (train, validation))
    return Speech(train, validation, corpus.language.symbols, corpus.mel_mean, corpus.mel_std)


def fingerprint(corpus: Corpus) -> str:
    """Return a hash of what the network sees of a corpus: texts, mels, and which are for validation."""
    rows = [
        [utterance.id, utterance.ids, Path(utterance.sound.mel_path).stem] for utterance in (*corpus.train, *corpus.validation)
    ]
    sizes = [len(corpus.train), len(corpus.validation)]
    return hashlib.blake2b(json.dumps([sizes, rows]).encode(), digest_size=8).hexdigest()
