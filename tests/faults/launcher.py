"""Run a command with faults inside: `python -m tests.faults.launcher LOG [FAULT ...] -- MODULE ARGUMENT...`.

The program is the real one. This module wraps a few of its functions: it records what happens, one line of JSON in LOG for each
update, report and snapshot, and at the given place it simulates a fault of the machine. A fault is its kind and its arguments:

- `snapshot:COUNT:half|written|moved`, `mels:COUNT`: SIGKILL in the COUNT-th write of a snapshot or of the mel cache, when half
  of the bytes are written; when all are, and the old file still has its name; when all are, and the old file has been renamed.
- `tell:COUNT:before|after`, `ask`, `release`: SIGKILL at the COUNT-th commit there: before it, or before its answer is read.
- `hang:COUNT`: the COUNT-th update never ends. `slow:SECONDS`: a pause after each update.
- `clock:COUNT:SECONDS`: from the COUNT-th update on, the clock is wrong by SECONDS.
- `host:NAME`: this process seems to run on another machine. `set:MODULE.NAME:VALUE`: another value of a constant.
- `nan:FIRST:LAST`: the gradients of these updates of a long training are NaN. `rate:UPDATE:FACTOR`: from this update on its
  learning rate is multiplied.

Each SIGKILL and each hang hits one process of a command. Spawned workers import this module again, as `__mp_main__`, and read
their faults from the environment.
"""

import datetime
import importlib
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

VARIABLE = "TACOTUNE_FAULTS"
LOG = ""
inside = threading.local()  # `commits`: the kinds of fault that may hit a commit of this thread


class Fault:
    """One fault, in this process."""

    def __init__(self, number: int, text: str) -> None:
        self.text, self.marker, self.calls = text, f"{LOG}.{number}", 0
        self.kind, *self.arguments = text.split(":")

    def due(self) -> bool:
        """Return whether the fault happens now. Called each time that it could happen."""
        self.calls += 1
        if self.calls < int(self.arguments[0]):
            return False
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def kill(self, *_: object) -> NoReturn:
        note("hit", fault=self.text)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


def note(what: str, **more: Any) -> None:
    """Record a line of evidence, which survives the death of this process."""
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **more}).encode() + b"\n")
    os.close(file)


def around(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Replace a function by the decorated one, which receives the original as its first argument."""

    def replace(wrapper: Callable[..., Any]) -> None:
        real = getattr(owner, name)
        setattr(owner, name, lambda *arguments, **named: wrapper(real, *arguments, **named))

    return replace


def witness() -> None:
    """Record what the workers do."""
    from objective.search import worker
    from objective.trial import checkpoint
    from objective.trial import run as trial_run
    from storage import leases

    @around(leases.Lease, "progressed")
    def progressed(real: Callable[..., None], lease: Any, kframes: float) -> None:
        note("progressed", number=lease.trial.number, kframes=kframes)
        real(lease, kframes)

    @around(trial_run, "_history")
    def started(real: Callable[..., Any], trial: Any, *more: Any) -> Any:
        found = real(trial, *more)
        note("start", number=trial.number, kframes=found[1].cursor.frames / 1_000 if found[1] else 0.0)
        return found

    @around(trial_run, "_report")
    def reported(real: Callable[..., None], trial: Any, report: Any, *more: Any) -> None:
        real(trial, report, *more)
        note("reported", number=trial.number, kframes=report.kframes)

    @around(checkpoint.TrialHistory, "files")
    def saved(real: Callable[..., Any], self: Any, folder: pathlib.Path, snapshot: Any, more: Any) -> Callable[[], None]:
        write, kframes = real(self, folder, snapshot, more), snapshot.cursor.frames / 1_000

        def noted() -> None:
            write()
            note("saved", folder=str(folder), kframes=kframes)

        return noted

    @around(worker, "tell")
    def result_stored(real: Callable[..., None], study: Any, trial: Any, *more: Any) -> None:
        real(study, trial, *more)
        note("stored", number=trial.number)


def killed_in_a_file(fault: Fault, where: str) -> None:
    from model import checkpoints
    from model.data import mels

    class Torn(type(pathlib.Path())):  # type: ignore[misc]
        """A path whose file is half written when its process dies."""

        def open(self, *arguments: Any, **named: Any) -> Any:
            file = super().open(*arguments, **named)
            real = file.write

            def write(data: Any) -> None:
                real(data[: len(data) // 2])
                file.flush()
                fault.kill()

            return Half(file, write)

    class Half:
        def __init__(self, file: Any, write: Callable[[Any], None]) -> None:
            self.file, self.write = file, write

        def __enter__(self) -> "Half":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    @around(checkpoints, "save")
    def save(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        before = fault.calls
        saved = real(*arguments, **named)
        if fault.kind == "snapshot" and fault.calls == before:
            note("missed", fault=fault.text)  # it was written in another way, so that no kill could hit it
        return saved

    @around(mels if fault.kind == "mels" else checkpoints, "atomic_write")
    @contextmanager
    def atomic_write(real: Callable[..., Any], path: pathlib.Path) -> Iterator[pathlib.Path]:
        with real(path) as part:
            due = fault.due()
            if due and where == "written":
                os.replace = fault.kill  # type: ignore[assignment]
            yield Torn(part) if due and where == "half" else part
            if due:
                fault.kill()


def killed_at_a_commit(faults: list[Fault]) -> None:
    import optuna
    from sqlalchemy.engine.default import DefaultDialect

    from objective.search import worker

    def mark(owner: Any, name: str, kind: str) -> None:
        @around(owner, name)
        def marked(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            before = getattr(inside, "commits", ())
            inside.commits = (*before, kind)
            try:
                return real(*arguments, **named)
            finally:
                inside.commits = before

    for owner, name, kind in ((worker, "tell", "tell"), (worker, "release", "release"), (optuna.Study, "ask", "ask")):
        mark(owner, name, kind)

    @around(DefaultDialect, "do_commit")
    def commit(real: Callable[..., None], *arguments: Any) -> None:
        kinds = getattr(inside, "commits", ())
        due = next((fault for fault in faults if fault.kind in kinds and fault.due()), None)
        if due is not None and due.arguments[1] == "before":
            due.kill()
        real(*arguments)
        if due is not None:
            due.kill()


def at_an_update(happens: Callable[[], None]) -> None:
    from storage import leases

    @around(leases.Lease, "progressed")
    def progressed(real: Callable[..., None], lease: Any, kframes: float) -> None:
        real(lease, kframes)
        happens()


def hanging(fault: Fault) -> None:
    def hang() -> None:
        if fault.due():
            note("hit", fault=fault.text)
            threading.Event().wait()

    at_an_update(hang)


def wrong_clock(count: int, seconds: float) -> None:
    """Shift the time of day: in the database's columns, the event log and the ages of files."""
    from optuna.storages._rdb import storage as tables

    from objective.events import log_writer as jsonl

    updates, real_time, real = [0], time.time, datetime.datetime

    def shift() -> float:
        return seconds if updates[0] >= count else 0.0

    class Shifted(real):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + datetime.timedelta(seconds=shift())

    def counted() -> None:
        updates[0] += 1

    time.time = lambda: real_time() + shift()
    jsonl.datetime = tables.datetime = Shifted  # type: ignore[attr-defined]
    at_an_update(counted)


def poisoned(happens: Callable[[Any], None]) -> None:
    """Call `happens` with the trainer of a long training before its first update and after each."""
    from objective.trial import rescue

    @around(rescue.Rescue, "begin")
    def begin(real: Callable[..., None], self: Any, trainer: Any, *more: Any) -> None:
        real(self, trainer, *more)
        happens(trainer)

    @around(rescue.Rescue, "check")
    def check(real: Callable[..., str | None], self: Any, trainer: Any, *more: Any) -> str | None:
        happens(trainer)
        return real(self, trainer, *more)


def nan_gradients(first: int, last: int) -> None:
    """Make the gradients of the updates from `first` to `last` NaN. Counted in this process: a resumed training goes on."""
    hooked = [-1]

    def spoilt(gradient: Any) -> Any:
        return gradient * float("nan") if first <= hooked[0] <= last else gradient

    def count(trainer: Any) -> None:
        if hooked[0] < 0:
            trainer.network.gate.weight.register_hook(spoilt)
        hooked[0] = trainer.cursor.updates + 1

    poisoned(count)


def raised_rate(update: int, factor: float) -> None:
    """Multiply the learning rate once, and leave it there."""

    def raise_it(trainer: Any) -> None:
        if trainer.cursor.updates == update:
            trainer.cursor.rate_scale *= factor

    poisoned(raise_it)


def install(log: str, *texts: str) -> None:
    """Install the faults in this process."""
    global LOG
    LOG = log
    faults = [Fault(number, text) for number, text in enumerate(texts)]
    witness()
    for fault in faults:
        match fault.kind, fault.arguments:
            case "snapshot", [_, where]:
                killed_in_a_file(fault, where)
            case "mels", _:
                killed_in_a_file(fault, "half")
            case "hang", _:
                hanging(fault)
            case "slow", [seconds]:
                at_an_update(lambda seconds=float(seconds): time.sleep(seconds))  # type: ignore[misc]
            case "clock", [count, seconds]:
                wrong_clock(int(count), float(seconds))
            case "nan", [first, last]:
                nan_gradients(int(first), int(last))
            case "rate", [update, factor]:
                raised_rate(int(update), float(factor))
            case "host", [name]:
                socket.gethostname = lambda name=name: name  # type: ignore[misc]
            case "set", [constant, value]:
                module, _, name = constant.rpartition(".")
                owner = importlib.import_module(module)
                assert hasattr(owner, name), f"{constant} was renamed"
                setattr(owner, name, float(value))
    commits = [fault for fault in faults if fault.kind in ("tell", "ask", "release")]
    if commits:
        killed_at_a_commit(commits)


if __name__ == "__main__":
    own, arguments = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    os.environ[VARIABLE] = json.dumps(own)
if __name__ in ("__main__", "__mp_main__"):
    install(*json.loads(os.environ[VARIABLE]))
if __name__ == "__main__":
    sys.exit(importlib.import_module(arguments[0]).main(arguments[1:]))
