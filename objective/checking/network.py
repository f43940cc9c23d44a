"""Try the network of the settings on a corpus: one update on the largest batch, and one batch learnt by heart."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.config import Config
from model.health import RECORD
from model.memory import out_of_memory
from model.trainer import Speech, Trainer

PROBE_UPDATES, PROBE_UTTERANCES = 60, 4
FALLS_TO = 0.6  # of the first loss, which a network that can learn reaches in these updates
KFRAMES = 1_000.0  # of a budget that is never used up: it only sets the warm-up
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Step:
    """One update on the largest batch."""

    utterances: int
    frames: int  # padding included
    terms: dict[str, float]  # of the loss, its gradient's norm and itself; empty where it did not fit into memory
    peak_bytes: int | None  # that it took; None where this system does not say
    seconds: float

    @property
    def finite(self) -> bool:
        """Return True if all terms are numbers."""
        return all(np.isfinite(value) for value in self.terms.values())


def largest_batch(config: Config, speech: Speech, device: torch.device) -> Step:
    """Train one update on the largest batch that an epoch may have: the longest utterances."""
    trainer = Trainer(config, speech, KFRAMES, 1, device, seed=0, graphs=False)
    frames = trainer.train.frames
    longest = np.argsort(-frames, kind="stable")
    size = config.training.batch_size
    if config.training.batch_frames:
        size = config.training.batch_frames // int(frames.max())
    indices = longest[: max(1, size)].tolist()
    began, before = time.monotonic(), _reset(device)
    terms: dict[str, float] = {}
    try:
        record, _ = trainer.update([trainer.train(indices)])
        terms = dict(zip(RECORD, record.tolist(), strict=False))
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
    taken = None if before is None else max(0, _peak(device) - before)
    return Step(len(indices), len(indices) * int(frames[indices].max()), terms, taken, time.monotonic() - began)


def probe(config: Config, speech: Speech, device: torch.device, progress: Callable[[int, int], None]) -> list[float]:
    """Return the losses of updates on one batch of usual length: a network that can learn knows it by heart soon."""
    trainer = Trainer(config, speech, KFRAMES, 1, device, seed=0, graphs=False)
    trainer.update.rate.fill_(config.training.learning_rate)
    trainer.update.guided_weight.fill_(config.loss.guided_weight)
    order = np.argsort(trainer.train.frames, kind="stable")
    middle = max(0, (len(order) - PROBE_UTTERANCES) // 2)
    batch = trainer.train(order[middle : middle + PROBE_UTTERANCES].tolist())
    losses = []
    for done in range(1, PROBE_UPDATES + 1):
        record, _ = trainer.update([batch])
        losses.append(float(record[RECORD.index("loss")]))
        progress(done, PROBE_UPDATES)
    return losses


def _reset(device: torch.device) -> int | None:
    """Forget the peak so far, and return the bytes in use; None where this system does not say."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    """Return a size of this process in bytes, as Linux has it."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
