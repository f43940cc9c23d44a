"""Cross-hearing: a listener learns from one half of a corpus and hears the other half, then the halves change sides.

It asks of each line if its own text is likelier than other texts of the same length. A text that belongs to another recording
is not, however little the listener has learnt: it only has to tell texts apart, not to write them down.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from rapidfuzz import fuzz, process

from model.data.corpus import Corpus, Utterance
from model.data.loading import Loader
from model.listener import Listener, error_rate, spelled, train_listener
from objective.trial.corpus import Told, speech_of

OTHERS = 12  # texts of the same length that each text is held against
BATCH = 16  # utterances that are heard at once
SEED = 0
ALIKE = 60.0  # of 100, from which on another line's text is said to be what was heard
AHEAD = 10.0  # and so far it has to be ahead of the line's own


@dataclass(frozen=True, slots=True)
class Impression:
    """A line in the ears of a listener that was not trained on it."""

    heard: str
    errors: float  # character error rate
    fit: float  # deviations of the other texts by which its own one is likelier: about 0 where it is one of many


@dataclass(frozen=True, slots=True)
class Hearing:
    """The impressions of all utterances by id, and what they cost."""

    impressions: dict[str, Impression]
    kframes: float  # that each of the two listeners was trained on, at most
    seconds: float


def cross_hear(corpus: Corpus, kframes: float, seconds: float, device: torch.device, told: Told) -> Hearing:
    """Hear every utterance with a listener that was trained on the other half.

    Each of the two learns from at most `kframes`, in at most half of the `seconds`.
    """
    began = time.monotonic()
    utterances = sorted((*corpus.train, *corpus.validation), key=lambda utterance: utterance.id)
    random.Random(SEED).shuffle(utterances)
    halves = utterances[::2], utterances[1::2]
    rivals = _rivals(utterances, corpus)
    impressions: dict[str, Impression] = {}
    for number, (learnt, heard) in enumerate((halves, halves[::-1]), 1):
        part = replace(corpus, train=tuple(learnt), validation=tuple(heard))
        speech = speech_of(part)
        told_of = partial(told, f"training listener {number} of 2 on half of the recordings")
        listener = train_listener(part, speech.train, kframes, device, SEED, told_of, seconds / 2)
        loader = Loader(speech.validation, device)
        impressions |= _hear(listener, heard, loader, rivals, partial(told, f"listening to the other half, {number} of 2"))
    return Hearing(impressions, kframes, time.monotonic() - began)


def likely_source(heard: str, own: str, texts: Sequence[str]) -> int | None:
    """Return the place of the text that was heard, if it is clearly another one than the line's `own`. All are spelled."""
    best = process.extractOne(heard, texts, scorer=fuzz.ratio, score_cutoff=ALIKE)
    if best is None or best[0] == own or best[1] < fuzz.ratio(heard, own) + AHEAD:
        return None
    return int(best[2])


def _rivals(utterances: Sequence[Utterance], corpus: Corpus) -> dict[str, list[str]]:
    """Return for each id its text, then the other texts that are nearest in length."""
    spellings = [spelled(utterance.text, corpus.language) for utterance in utterances]
    order = sorted(range(len(utterances)), key=lambda place: len(spellings[place]))
    found = {}
    for rank, place in enumerate(order):
        around = sorted(
            order[max(0, rank - OTHERS) : rank + OTHERS + 1],
            key=lambda other: abs(len(spellings[other]) - len(spellings[place])),
        )
        others = [utterances[other].text for other in around if spellings[other] != spellings[place]]
        found[utterances[place].id] = [utterances[place].text, *others[:OTHERS]]
    return found


def _hear(
    listener: Listener, utterances: Sequence[Utterance], loader: Loader, rivals: dict[str, list[str]], progress: partial[None]
) -> dict[str, Impression]:
    order = np.argsort(loader.frames, kind="stable").tolist()
    edges = [*range(0, len(order), BATCH), len(order)]
    found = {}
    for start, end in pairwise(edges):
        batch = loader(order[start:end])
        heard = [utterances[place] for place in order[start:end]]
        weighed = listener.weigh(batch.mels, batch.frame_lengths, [rivals[utterance.id] for utterance in heard])
        for utterance, (text, costs) in zip(heard, weighed, strict=True):
            errors = error_rate([spelled(utterance.text, listener.language)], [text])
            found[utterance.id] = Impression(text, errors, fit(costs[0], costs[1:]))
        progress(end, len(order))
    return found


def fit(own: float, others: Sequence[float]) -> float:
    """Return by how many deviations of the others' costs the own one is below their mean; infinite costs are left out."""
    finite = np.array([cost for cost in others if np.isfinite(cost)])
    if not np.isfinite(own) or len(finite) < 2:
        return 0.0
    return float((finite.mean() - own) / max(float(finite.std()), 1e-6))
