"""The frame budget of a trial where the settings name none: it follows from the corpus and the batch size."""

import math

from model.data.corpus import Corpus
from objective.settings.schema import FULL_EPOCHS, FULL_UPDATES, Settings


def default_budget(train_frames: int, utterances: int, batch_size: float, updates: int, epochs: int) -> int:
    """Return the kframes that hold at least `updates` updates of `batch_size` utterances, and at least `epochs` epochs.

    train_frames: mel frames of all `utterances` to train on. Attention forms after a number of updates, hardly sooner on a
    smaller corpus: NVIDIA's network aligns without guidance after about 10,000 updates of 64 (NVIDIA/tacotron2, issue 110),
    not after 22,000 of 32 (ibid.), and coqui's users report up to 50,000 without it. On a corpus so large that these are only
    a few epochs, its texts are to be met more often. Nothing caps it: a long budget is named at the start, with its hours.
    """
    passes = max(updates * batch_size / utterances, epochs)
    return math.ceil(train_frames * passes / 1_000)


def settled(settings: Settings, corpus: Corpus) -> Settings:
    """Return the settings with a number of kframes. All that trains, reports or stores a budget comes after this."""
    if settings.budget.kframes is not None:
        return settings
    frames, batch = _frames(corpus), _batch(settings, corpus)
    kframes = default_budget(frames, len(corpus.train), batch, FULL_UPDATES, FULL_EPOCHS)
    budget = settings.budget.model_copy(update={"kframes": max(kframes, settings.budget.reports)})
    return settings.model_copy(update={"budget": budget})


def described(settings: Settings, corpus: Corpus) -> str:
    """Return the budget in kframes, epochs and updates: "a trial: 362,240 kframes = 51 epochs = 10,000 updates of 64"."""
    kframes, batch = settings.budget.total_kframes, _batch(settings, corpus)
    epochs = 1_000 * kframes / _frames(corpus)
    updates = epochs * len(corpus.train) / batch
    shown = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.1f}"
    return f"a trial: {kframes:,} kframes = {shown} epochs = {updates:,.0f} updates of {batch:.0f}"


def _frames(corpus: Corpus) -> int:
    return sum(utterance.sound.frames for utterance in corpus.train)


def _batch(settings: Settings, corpus: Corpus) -> float:
    """Utterances of an update; where batches are cut by frames, about how many these are."""
    training = settings.training
    return training.batch_frames * len(corpus.train) / _frames(corpus) if training.batch_frames else training.batch_size
