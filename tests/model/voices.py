"""A toy language whose letters have a sound of four frames each, for tests of what can be understood."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.data.corpus import Corpus, Utterance
from model.data.loading import Example
from model.data.mels import Sound
from model.text.languages import Language
from model.trainer import Speech

BANDS, FRAMES = 8, 4
TAIL = 4  # silent frames behind each recording of a corpus
LETTERS = "abcdefgh"
TOY = Language("toy", tuple("_. " + LETTERS), str.lower, "", Path(), Path())
_SOUNDS = np.random.default_rng(5).normal(size=(len(LETTERS) + 1, BANDS)).astype(np.float32)


def said(text: str, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Return the mel (4 frames a letter, BANDS) of a text of letters and spaces; full stops have no sound."""
    places = [LETTERS.find(letter) for letter in text if letter != "."]
    clean = np.repeat(_SOUNDS[places], FRAMES, 0)
    return (clean + noise * np.random.default_rng(seed).normal(size=clean.shape)).astype(np.float32)


def sentences(count: int, seed: int) -> list[str]:
    """Draw sentences of four or five words."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list(LETTERS), random.integers(3, 6), replace=False)) for _ in range(40)]
    return [" ".join(random.choice(words, random.integers(4, 6))) + "." for _ in range(count)]


def examples(texts: list[str]) -> list[Example]:
    """Return the texts with their sounds."""
    ids = TOY.ids
    return [Example(tuple(ids[letter] for letter in text), said(text, seed=place)) for place, text in enumerate(texts)]


def with_tail(mel: np.ndarray) -> np.ndarray:
    return np.concatenate([mel, np.full((TAIL, BANDS), -9.0, np.float32)])


def voice(texts: list[str]) -> tuple[Corpus, Speech]:
    """Return a corpus of the toy language, with these texts held out."""
    train = sentences(60, 1)
    spoken = [[replace(one, mel=with_tail(one.mel)) for one in examples(part)] for part in (train, texts)]
    sound = Sound(Path("x"), 1, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 22_050, 1, 0.0, 1.0, 0)
    utterances = [
        tuple(
            Utterance(str(place), text, one.ids, sound, Path("x"))
            for place, (text, one) in enumerate(zip(part, made, strict=True))
        )
        for part, made in zip((train, texts), spoken, strict=True)
    ]
    corpus = Corpus(TOY, utterances[0], utterances[1], (), (), 0.0, 1.0)
    return corpus, Speech(spoken[0], spoken[1], TOY.symbols, 0.0, 1.0)
