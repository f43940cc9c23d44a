"""The schedules of a training, by shares of its frame budget, so that they fit any budget and batch size."""

import math

from model.config import Training
from model.snapshot import Cursor


def learning_rate(training: Training, progress: float) -> float:
    """Return the rate at a share `progress` of the budget."""
    warmup = training.warmup_share
    if progress < warmup:
        return training.learning_rate * progress / warmup
    if training.schedule == "cosine":
        return training.learning_rate * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    if training.schedule == "noam":
        return training.learning_rate * math.sqrt(warmup / progress)
    return training.learning_rate


def current_rate(training: Training, cursor: Cursor, budget: float) -> float:
    """Return the rate at the cursor's place in a budget of so many frames, scaled, of a schedule that may have restarted."""
    progress = (cursor.frames - cursor.rate_from) / max(1.0, budget - cursor.rate_from)
    return cursor.rate_scale * learning_rate(training, min(1.0, progress))
