"""Train one trial on several GPUs with torchrun: rank 0 proposes, reports and decides, the other ranks train with it.

Rank 0 is the worker. It sends the others a task for each trial, True before each update and False after the last, and None at
the end.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from model.config import Config
from model.distributed import Group
from model.errors import RankLost
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Speech, Trainer
from model.warmstart import warm_start
from objective.settings.schema import Budget
from objective.trial.context import TrainingData
from objective.trial.corpus import speech_of


@dataclass(frozen=True, slots=True)
class Task:
    """All that a trainer needs apart from the data, which each rank reads itself."""

    config: Config
    budget: Budget
    seed: int
    start: Snapshot | None


def torchrun_rank() -> int | None:
    """Return this process's rank where torchrun started several, else None."""
    return int(os.environ["RANK"]) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


@contextmanager
def process_group(data: TrainingData) -> Iterator[Group | None]:
    """Join the group of this process; None where it is alone.

    A terminal sends Ctrl-C to every rank, and torchrun then sends a signal as well. Rank 0 handles torchrun's alone, and the
    others neither: they end when rank 0 tells them to, or when it is gone.
    """
    rank = torchrun_rank()
    if rank is None:
        yield None
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if rank:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Group(data.device) as group:
        try:
            yield group
        finally:
            if rank == 0 and sys.exc_info()[0] is None:
                group.agree(None)


def build_trainer(task: Task, data: TrainingData, speech: Speech, group: Group | None) -> Trainer:
    """Build the trainer of a task on rank 0, and where there is a group on all other ranks, too."""
    if group is None:
        return _build(task, data, speech, None)
    task = group.agree(task)
    with group.together():
        return _build(task, data, speech, group)


def _build(task: Task, data: TrainingData, speech: Speech, group: Group | None) -> Trainer:
    budget, config, graphs = task.budget, data.abilities.applied(task.config), data.abilities.graphs
    trainer = Trainer(config, speech, budget.total_kframes, budget.reports, data.device, task.seed, task.start, group, graphs)
    if data.pretrained is not None and task.start is None:
        warm_start(trainer.network, speech.symbols, data.pretrained)
    return trainer


@contextmanager
def leading(trainer: Trainer, group: Group | None) -> Iterator[Iterator[Report | None]]:
    """Yield the trainer's steps. The other ranks of a group are notified before each one, and after the last."""

    def announced(steps: Iterator[Report | None]) -> Iterator[Report | None]:
        while group is None or group.agree(True):
            try:
                step = next(steps)
            except StopIteration:
                return
            yield step

    with closing(trainer.steps()) as steps:
        try:
            yield announced(steps)
        finally:
            if group is not None:
                group.agree(False)


def follow(data: TrainingData, group: Group) -> int:
    """Train with rank 0 until it ends; return the exit code."""
    speech = speech_of(data.corpus)
    try:
        while (task := group.agree(None)) is not None:
            _train_one(task, data, speech, group)
            if data.device.type == "cuda":
                torch.cuda.empty_cache()
    except RankLost as why:
        print(why, file=sys.stderr)
        return 1
    return 0


def _train_one(task: Task, data: TrainingData, speech: Speech, group: Group) -> None:
    """Train one trial. An exception is raised on all ranks alike, and rank 0 handles it."""
    failures = (RuntimeError, MemoryError, OSError, ValueError)
    try:
        with group.together():
            trainer = _build(task, data, speech, group)
    except RankLost:
        raise
    except failures:
        return
    steps = iter(trainer.steps())
    while group.agree(None):
        try:
            next(steps, None)
        except RankLost:
            raise
        except failures:
            continue
