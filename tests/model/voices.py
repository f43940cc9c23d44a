"""A toy language whose letters have a sound of four frames each, for tests of what can be understood."""

from pathlib import Path

import numpy as np

from model.data.loading import Example
from model.text.languages import Language

BANDS, FRAMES = 8, 4
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
