"""Run several workers as processes, one or more for each GPU, while this process shows the events of all of them.

A worker sends its events through a pipe, and finally the reason why it stopped. A worker that ends without a reason, or with an
exception, has crashed and is restarted. The workers share only the study's storage, so workers of other machines can join.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import optuna
import torch

from objective.events.fanout import Sinks
from objective.events.types import Event, Warned
from objective.runtime.errors import MACHINE, cause, gpu_failure, machine_failure
from objective.runtime.signals import Interruption
from objective.search.stopping import StopReason
from objective.search.worker import work
from objective.settings.device import probe, variable
from objective.settings.schema import Settings
from objective.trial.context import TrainingData, WorkerContext
from objective.workers.supervision import RELEASE_S, ProgressThrottle, SupervisedWorker, outcome
from search_spaces.space import load
from storage.errors import StorageError
from storage.studies import open_storage, stop_retrying


def gpus() -> list[str]:
    """Return the value of CUDA_VISIBLE_DEVICES for each GPU that this process may use.

    `device_of` has refused names of GPUs that do not exist. MIG instances are listed by their names, since CUDA shows a
    process only one of them.
    """
    found = probe()
    return found.names or [str(index) for index in range(len(found.cards))]


def how_many(settings: Settings, devices: Sequence[str]) -> int:
    """Return the number of workers: as set, else `trials_per_gpu` for each of `devices`."""
    return settings.study.workers or max(1, len(devices)) * settings.study.trials_per_gpu


def sharing(workers: int, devices: Sequence[str]) -> str | None:
    """Say how to start MPS, without which the processes that share a GPU take turns. None where none do, or it runs."""
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    if workers <= len(devices) or not devices or torch.version.hip or pipes.exists():
        return None
    rule = f"{workers} workers share {len(devices)} GPU{'s' * (len(devices) > 1)} and only take turns"
    return f"{rule}: NVIDIA's MPS lets them run at once: start it before the study with nvidia-cuda-mps-control -d"


def supervise(settings: Settings, count: int, devices: Sequence[str], sinks: Sinks, interruption: Interruption) -> StopReason:
    """Run `count` workers until all have stopped; return why. Worker i uses the GPU i modulo the number of `devices`."""
    threads = settings.threads or (None if devices else max(1, (os.cpu_count() or 1) // count))
    # A worker that was started for a GPU ends where it cannot use it, and never trains on the CPU instead.
    settings = settings.model_copy(update={"threads": threads, "device": "cuda" if devices else "cpu"})
    workers = [_Worker(i, settings, devices[i % len(devices)] if devices else None) for i in range(count)]
    deadline = math.inf  # for all workers, once a stop is requested
    try:
        while any(worker.end is None for worker in workers) and time.monotonic() < deadline:
            for worker in workers:
                worker.start_if_due()
            pipes = {worker.pipe: worker for worker in workers if worker.pipe is not None}
            for ready in wait(list(pipes), timeout=0.5):
                pipes[ready].read(sinks)  # type: ignore[index]
            if interruption.reason is not None and deadline == math.inf:
                deadline = time.monotonic() + RELEASE_S
                for worker in workers:
                    worker.stop()
    except KeyboardInterrupt:  # the second Ctrl-C
        for worker in workers:
            worker.kill()
        raise
    finally:
        _end(workers)
    return outcome(workers, interruption)


class _Worker(SupervisedWorker):
    """A worker in a process of this machine."""

    def __init__(self, number: int, settings: Settings, device: str | None) -> None:
        super().__init__(number, settings)
        self.device, self.stopping = device, False
        self.why: str | None = None  # it is about to end with this exception
        self.pipe: Connection | None = None
        self.process: Any = None

    def start_if_due(self) -> None:
        if self.end is not None or self.pipe is not None or time.monotonic() < self.due:
            return
        context = get_context("spawn")
        self.pipe, sending = context.Pipe(duplex=False)
        self.why = None
        self.process = context.Process(
            target=_serve, args=(self.settings, self.device, self.log, sending), name=f"worker-{self.number}"
        )
        with _sigint_ignored():
            self.process.start()
        sending.close()  # the worker holds the only open copy, so the pipe ends when it dies

    def read(self, sinks: Sinks) -> None:
        assert self.pipe is not None
        try:
            message: Event | StopReason | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self._gone(sinks)
            return
        if isinstance(message, StopReason):
            self.end = message
        elif isinstance(message, Exception):
            self.why = str(message)
        else:
            self.receive(message, sinks)

    def stop(self) -> None:
        """Request it to release its trial and end. A worker that is not running, or crashes now, is not restarted."""
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
            place = "" if self.device is None else f" on GPU {self.device}"
            how = f" with exit code {self.process.exitcode}" if self.why is None else f": {self.why}"
            self.crashed(f"worker {self.number}{place} ended{how}", "restarts", sinks)


def _end(workers: Sequence[_Worker]) -> None:
    """Leave no process behind, whatever happened."""
    living = [worker for worker in workers if worker.process is not None and worker.process.is_alive()]
    for worker in living:
        if not worker.stopping:
            worker.process.terminate()
    deadline = time.monotonic() + RELEASE_S
    try:
        for worker in living:
            worker.process.join(0.0 if worker.stopping else max(0.0, deadline - time.monotonic()))
    finally:
        for worker in living:
            worker.process.kill()


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    """Start workers that ignore Ctrl-C, which a terminal sends to the whole process group: only the supervisor stops them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Pipe:
    """The sink of a worker: sends every event to the supervisor. When the supervisor has died, the worker stops as well."""

    name = "pipe"

    def __init__(self, pipe: Connection, interruption: Interruption) -> None:
        self.pipe, self.interruption, self.throttle = pipe, interruption, ProgressThrottle()

    def emit(self, event: Event) -> None:
        if self.throttle.sends(event):
            try:
                self.pipe.send(event)
            except OSError:
                self.interruption.request()

    def close(self) -> None:
        """Do nothing: the pipe ends with the process."""


def _serve(settings: Settings, device: str | None, log: Path, pipe: Connection) -> None:
    """Work on the study in a worker process, and send the reason why it stopped, or the exception that ends it."""
    if device is not None:
        os.environ[variable()] = device
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
        os.dup2(file.fileno(), sys.stdout.fileno())
    with Interruption(supervised=True) as interruption:
        try:
            pipe.send(join_study(settings, Sinks([_Pipe(pipe, interruption)]), interruption))
        except Exception as why:  # re-raised: the supervisor says why the worker ended
            with suppress(OSError):  # the supervisor may be gone
                pipe.send(RuntimeError(cause(why)))
            raise


def join_study(settings: Settings, sinks: Sinks, interruption: Interruption) -> StopReason:
    """Work on an existing study, with data that another process has already checked."""
    quiet = settings.model_copy(update={"quiet": True})
    try:
        storage = open_storage(settings.storage_url, settings.study.database_s)
        interruption.on_request = lambda: stop_retrying(storage)
        study = optuna.load_study(storage=storage, study_name=settings.study.name)
        data = TrainingData.of(quiet, load(settings.study.space, settings.config()))
        return work(study, WorkerContext.of(settings, data, study, sinks, interruption))
    except (StorageError, *MACHINE) as why:
        sentence = str(why) if isinstance(why, StorageError) else machine_failure(why)
        waits = settings.study.on_failure == "wait" and not interruption.requested
        if sentence is None or waits or gpu_failure(why):
            raise  # the supervisor restarts a worker that ends with an exception
        sinks.emit(Warned(f"a worker stopped because the machine failed: {sentence}"))
        return StopReason(f"the machine failed: {sentence}", 1)
