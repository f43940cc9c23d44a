"""Several workers, a process each: one for each GPU, or several. They do the trials; this process shows what they all do.

A worker sends its events through a pipe, and at last why it stopped. One that is gone without a word has crashed, and is
started again. All that the workers share is the study's storage, so workers of other machines may join.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from objective.events.fanout import Sinks
from objective.events.types import Event, Warned
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.settings.schema import Settings
from objective.workers.supervision import PATIENCE_S, ProgressThrottle, SupervisedWorker, outcome


def gpus() -> list[str]:
    """What to write into CUDA_VISIBLE_DEVICES for each GPU that this process may use."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(index) for index in range(torch.cuda.device_count())]


def how_many(settings: Settings, devices: Sequence[str]) -> int:
    return settings.study.workers or max(1, len(devices)) * settings.study.trials_per_gpu


def supervise(settings: Settings, count: int, devices: Sequence[str], sinks: Sinks, interruption: Interruption) -> StopReason:
    """Runs `count` workers until they have all stopped; returns why. Worker i has the GPU i modulo their number."""
    threads = settings.threads or (None if devices else max(1, (os.cpu_count() or 1) // count))
    settings = settings.model_copy(update={"threads": threads})
    crew = [_Worker(place, settings, devices[place % len(devices)] if devices else None) for place in range(count)]
    deadline = math.inf  # for those who were asked to stop
    try:
        while any(worker.end is None for worker in crew) and time.monotonic() < deadline:
            for worker in crew:
                worker.start_if_due()
            pipes = {worker.pipe: worker for worker in crew if worker.pipe is not None}
            for ready in wait(list(pipes), timeout=0.5):
                pipes[ready].read(sinks)  # type: ignore[index]
            if interruption.why is not None and deadline == math.inf:
                deadline = time.monotonic() + PATIENCE_S
                for worker in crew:
                    worker.stop()
    except KeyboardInterrupt:  # the second Ctrl-C
        for worker in crew:
            worker.kill()
        raise
    finally:
        _end(crew)
    return outcome(crew, interruption)


class _Worker(SupervisedWorker):
    """A process."""

    def __init__(self, number: int, settings: Settings, device: str | None) -> None:
        super().__init__(number, settings)
        self.device, self.stopping = device, False
        self.pipe: Connection | None = None
        self.process: Any = None

    def start_if_due(self) -> None:
        if self.end is not None or self.pipe is not None or time.monotonic() < self.due:
            return
        context = get_context("spawn")
        self.pipe, sending = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve, args=(self.settings, self.device, self.log, sending), name=f"worker-{self.number}"
        )
        with _deaf():
            self.process.start()
        sending.close()  # the worker's copy alone is open now: where it dies, the pipe ends

    def read(self, sinks: Sinks) -> None:
        assert self.pipe is not None
        try:
            said: Event | StopReason = self.pipe.recv()
        except (EOFError, OSError):
            self._gone(sinks)
            return
        if isinstance(said, StopReason):
            self.end = said
        else:
            self.hear(said, sinks)

    def stop(self) -> None:
        """Ask it to release its trial and end; one that is not there, or crashes now, stays away."""
        self.stopping = True
        if self.pipe is None:
            self.end = self.end or StopReason("interrupted", 130, early=True)
        else:
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _gone(self, sinks: Sinks) -> None:
        assert self.pipe is not None
        self.pipe.close()
        self.pipe = None
        self.process.join()
        if self.stopping and self.end is None:
            self.end = StopReason("interrupted", 130, early=True)
        if self.end is None:
            self.crashed(f"worker {self.number} ended with exit code {self.process.exitcode}", "starts again", sinks)


def _end(crew: Sequence[_Worker]) -> None:
    """Leave no process behind, whatever happened."""
    living = [worker for worker in crew if worker.process is not None and worker.process.is_alive()]
    for worker in living:
        if not worker.stopping:
            worker.process.terminate()
    deadline = time.monotonic() + PATIENCE_S
    try:
        for worker in living:
            worker.process.join(0.0 if worker.stopping else max(0.0, deadline - time.monotonic()))
    finally:
        for worker in living:
            worker.process.kill()


@contextmanager
def _deaf() -> Iterator[None]:
    """A terminal's Ctrl-C reaches the whole group; a worker started here ignores it, and hears its supervisor alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Pipe:
    """The sink of a worker: hands every event to its supervisor. Where that is gone, the worker should end, too."""

    name = "pipe"

    def __init__(self, pipe: Connection, interruption: Interruption) -> None:
        self.pipe, self.interruption, self.seldom = pipe, interruption, ProgressThrottle()

    def emit(self, event: Event) -> None:
        if self.seldom.sends(event):
            try:
                self.pipe.send(event)
            except OSError:
                self.interruption.ask()

    def close(self) -> None:
        """The pipe is the process's, and ends with it."""


def _serve(settings: Settings, device: str | None, log: Path, pipe: Connection) -> None:
    """A worker's whole life."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
        os.dup2(file.fileno(), sys.stdout.fileno())
    with Interruption(deaf=True) as interruption:
        pipe.send(join(settings, Sinks([_Pipe(pipe, interruption)]), interruption))


def join(settings: Settings, sinks: Sinks, interruption: Interruption) -> StopReason:
    """Work on a study that is there already, with data that was checked already."""
    import optuna

    from objective.runtime.errors import MACHINE, machine_failure
    from objective.search.worker import work
    from objective.trial.context import TrainingData, WorkerContext
    from search_spaces.space import load
    from storage.errors import StorageError
    from storage.studies import open_storage, stop_retrying

    quiet = settings.model_copy(update={"quiet": True})
    try:
        storage = open_storage(settings.storage_url, settings.study.database_s)
        interruption.also = lambda: stop_retrying(storage)
        study = optuna.load_study(storage=storage, study_name=settings.study.name)
        known = TrainingData.of(quiet, load(settings.study.space, settings.config()))
        return work(study, WorkerContext.of(settings, known, study, sinks, interruption))
    except (StorageError, *MACHINE) as why:
        sentence = str(why) if isinstance(why, StorageError) else machine_failure(why)
        if sentence is None or (settings.study.on_failure == "wait" and not interruption.asked):
            raise  # a supervisor starts a worker again that ends so
        sinks.emit(Warned(f"a worker stops, the machine failed: {sentence}"))
        return StopReason(f"the machine failed: {sentence}", 1)
