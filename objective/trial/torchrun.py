"""One trial on several GPUs, started by torchrun: rank 0 asks, reports and decides, the others train along.

Rank 0 is the worker; what it tells the others is a task for each trial, before each update that it comes, and at last None.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from model.config import Config
from model.distributed import Group, RankLost
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Speech, Trainer
from model.warmstart import warm_start
from objective.settings.schema import Budget, Settings
from objective.trial.context import TrainingData
from objective.trial.corpus import speech_of


@dataclass(frozen=True, slots=True)
class Task:
    """All that a trainer needs, apart from the data, which each rank reads itself."""

    config: Config
    budget: Budget
    seed: int
    start: Snapshot | None


def ranked() -> int | None:
    """This process's rank where torchrun started several, else None."""
    return int(os.environ["RANK"]) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


@contextmanager
def joined(data: TrainingData) -> Iterator[Group | None]:
    """The group of this process; None where it is alone.

    torchrun hands a signal on to every rank, after a terminal has done the same. Rank 0 hears torchrun's alone, and the others
    none: they end when rank 0 says so, or when it is gone.
    """
    rank = ranked()
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


def built(task: Task, data: TrainingData, speech: Speech, group: Group | None) -> Trainer:
    """The trainer of a task: rank 0's, with all the others', where there is a group."""
    if group is None:
        return _built(task, data, speech, None)
    task = group.agree(task)
    with group.together():
        return _built(task, data, speech, group)


def _built(task: Task, data: TrainingData, speech: Speech, group: Group | None) -> Trainer:
    budget = task.budget
    trainer = Trainer(task.config, speech, budget.kframes, budget.reports, data.device, task.seed, task.start, group)
    if data.pretrained is not None and task.start is None:
        warm_start(trainer.network, speech.symbols, data.pretrained)
    return trainer


@contextmanager
def led(trainer: Trainer, group: Group | None) -> Iterator[Iterator[Report | None]]:
    """The trainer's steps. The others of a group are told before each that it comes, and in the end that none does."""

    def told(steps: Iterator[Report | None]) -> Iterator[Report | None]:
        while group is None or group.agree(True):
            try:
                step = next(steps)
            except StopIteration:
                return
            yield step

    with closing(trainer.steps()) as steps:
        try:
            yield told(steps)
        finally:
            if group is not None:
                group.agree(False)


def follow(settings: Settings, data: TrainingData, group: Group) -> int:
    """The whole life of a rank that does not lead; returns the exit code."""
    speech = speech_of(data.corpus)
    try:
        while (task := group.agree(None)) is not None:
            _train_along(task, data, speech, group)
            if data.device.type == "cuda":
                torch.cuda.empty_cache()
    except RankLost as why:
        print(why, file=sys.stderr)
        return 1
    return 0


def _train_along(task: Task, data: TrainingData, speech: Speech, group: Group) -> None:
    """One trial. What is raised here all ranks raise, and rank 0 knows what to do."""
    failures = (RuntimeError, MemoryError, OSError, ValueError)
    try:
        with group.together():
            trainer = _built(task, data, speech, group)
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
