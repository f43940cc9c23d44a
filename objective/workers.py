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

from objective.ends import End
from objective.events import Event, Progressed, TrialEnded, TrialStarted, Warned
from objective.interruption import Interruption
from objective.settings import Settings
from objective.sinks.fan import Sinks
from objective.sinks.words import duration
from storage.folders import trial_folder

PATIENCE_S = 30.0  # that a worker has to release its trial after it was asked to stop
CRASHES = 5  # of a worker with no trial finished in between, after which it stays away
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0  # before a crashed worker is started again
PROGRESS_S = 0.2  # between two signs of progress that a worker sends


def gpus() -> list[str]:
    """What to write into CUDA_VISIBLE_DEVICES for each GPU that this process may use."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(index) for index in range(torch.cuda.device_count())]


def how_many(settings: Settings, devices: Sequence[str]) -> int:
    return settings.study.workers or max(1, len(devices)) * settings.study.trials_per_gpu


def supervise(settings: Settings, count: int, devices: Sequence[str], sinks: Sinks, interruption: Interruption) -> End:
    """Runs `count` workers until they have all stopped; returns why. Worker i has the GPU i modulo their number."""
    threads = settings.threads or (None if devices else max(1, (os.cpu_count() or 1) // count))
    settings = settings.model_copy(update={"threads": threads})
    crew = [_Worker(place, settings, devices[place % len(devices)] if devices else None) for place in range(count)]
    deadline = math.inf  # for those who were asked to stop
    try:
        while any(worker.wanted for worker in crew) and time.monotonic() < deadline:
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
    if interruption.why is not None:
        return End(interruption.why, 130 if interruption.asked else 0, early=True)
    ends = [worker.end for worker in crew if worker.end is not None]
    done = [end for end in ends if end.code == 0]
    return done[0] if done else ends[0]


class _Worker:
    """One worker process, and those that follow it where it crashes."""

    def __init__(self, place: int, settings: Settings, device: str | None) -> None:
        self.place, self.settings, self.device = place, settings, device
        self.pipe: Connection | None = None
        self.end: End | None = None
        self.process: Any = None
        self.running: TrialStarted | None = None
        self.due, self.wait, self.crashes, self.stopping = 0.0, FIRST_WAIT_S, 0, False

    @property
    def wanted(self) -> bool:
        return self.end is None

    @property
    def log(self) -> Path:
        return self.settings.folder / f"worker-{self.place}.log"

    def start_if_due(self) -> None:
        if self.end is not None or self.pipe is not None or time.monotonic() < self.due:
            return
        context = get_context("spawn")
        self.pipe, sending = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve, args=(self.settings, self.device, self.log, sending), name=f"worker-{self.place}"
        )
        with _deaf():
            self.process.start()
        sending.close()  # the worker's copy alone is open now: where it dies, the pipe ends

    def read(self, sinks: Sinks) -> None:
        assert self.pipe is not None
        try:
            said: Event | End = self.pipe.recv()
        except (EOFError, OSError):
            self._gone(sinks)
            return
        if isinstance(said, End):
            self.end = said
        else:
            sinks.emit(said)
            self.running = followed(self.running, said)
            if isinstance(said, TrialEnded) and said.state != "FAIL":
                self.crashes, self.wait = 0, FIRST_WAIT_S

    def stop(self) -> None:
        """Ask it to release its trial and end; one that is not there, or crashes now, stays away."""
        self.stopping = True
        if self.pipe is None:
            self.end = self.end or End("interrupted", 130, early=True)
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
            self.end = End("interrupted", 130, early=True)
        if self.end is not None:
            return
        if self.running is not None:
            sinks.emit(lost(self.running, self.settings))
            self.running = None
        self.crashes += 1
        said = f"worker {self.place} ended with exit code {self.process.exitcode}: see {self.log}"
        if self.crashes >= CRASHES:
            self.end = End(f"{said}: it crashed {CRASHES} times without finishing a trial", 1)
            sinks.emit(Warned(self.end.why))
            return
        sinks.emit(Warned(f"{said}: it starts again in {duration(self.wait)}"))
        self.due, self.wait = time.monotonic() + self.wait, min(2 * self.wait, LAST_WAIT_S)


def followed(running: TrialStarted | None, said: Event) -> TrialStarted | None:
    """The trial that a worker runs, once it has said something."""
    if isinstance(said, TrialStarted):
        return said
    return None if isinstance(said, TrialEnded) else running


def lost(running: TrialStarted, settings: Settings) -> TrialEnded:
    """The end of a trial whose worker can no longer say it."""
    folder = trial_folder(settings.folder, running.number)
    return TrialEnded(running.number, "FAIL", None, "its worker died", None, {}, 0.0, 0.0, 0.0, folder, last=None)


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
        self.pipe, self.interruption = pipe, interruption
        self.progressed = 0.0

    def emit(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Progressed):
            if now - self.progressed < PROGRESS_S:
                return
            self.progressed = now
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


def join(settings: Settings, sinks: Sinks, interruption: Interruption) -> End:
    """Work on a study that is there already, with data that was checked already."""
    import optuna

    from objective.failures import MACHINE, machine_failure
    from objective.lab import Lab, Material
    from objective.worker import work
    from search_spaces.space import load
    from storage.failures import StorageError
    from storage.studies import hurry, open_storage

    quiet = settings.model_copy(update={"quiet": True})
    try:
        storage = open_storage(settings.storage_url, settings.study.database_s)
        interruption.also = lambda: hurry(storage)
        study = optuna.load_study(storage=storage, study_name=settings.study.name)
        known = Material.of(quiet, load(settings.study.space, settings.config()))
        return work(study, Lab.of(settings, known, study, sinks, interruption))
    except (StorageError, *MACHINE) as why:
        sentence = str(why) if isinstance(why, StorageError) else machine_failure(why)
        if sentence is None or (settings.study.on_failure == "wait" and not interruption.asked):
            raise  # a supervisor starts a worker again that ends so
        sinks.emit(Warned(f"a worker stops, the machine failed: {sentence}"))
        return End(f"the machine failed: {sentence}", 1)
