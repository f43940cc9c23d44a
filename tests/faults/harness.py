"""A study under faults: its command is run until it is complete, and can be watched and disturbed meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial

from storage.outcome import finished
from storage.studies import open_storage

ROOT = Path(__file__).parents[2]
KFRAMES, REPORTS = 12, 4
INTERVAL = KFRAMES / REPORTS  # kframes from one snapshot to the next
LONGEST_S = 180.0  # for one command
SETTINGS = f"""
data: {{demo_utterances: 24, validation_utterances: 6}}
budget: {{kframes: {KFRAMES}, reports: {REPORTS}, snapshot_kframes: {INTERVAL}}}
study: {{recipes: [tacotune, nvidia], seed: 7}}
network: {{embedding: 16, encoder: 16, prenet: 8, attention_rnn: 24, decoder_rnn: 24, attention: 8, postnet: 12}}
pruner: {{name: none}}
repair: {{max_per_trial: 0}}
"""
SPACE = """
name: faults
about: a tiny network, in many small updates
parameters:
  training.learning_rate: {float: [1e-4, 4e-3], log: true}
  training.batch_size: {categorical: [3, 4]}
  loss.gate_positive_weight: {float: [1.0, 20.0], log: true}
  network.reduction: {int: [2, 4]}
"""
# Three kinds of study, each compared with an undisturbed one of its kind.
TPE, RANDOM, SICK = "tpe", "random", "sick"
ARGUMENTS = {
    TPE: ["--sampler", "tpe"],
    # A configuration depends on its k alone, so concurrent workers try the same ones; a recipe's k depends on their order.
    RANDOM: ["--sampler", "random", "--set", "study.recipes=[]"],
    SICK: ["--sampler", "tpe", "--set", "pruner.name=health", "--set", "repair.max_per_trial=1"],
}
Evidence = dict[str, Any]
Result = tuple[dict[str, Any], float | None, dict[int, float], str]  # parameters, value, reports, state


class Broken(Exception):
    """A promise is broken."""


@dataclass
class Row:
    """The measurements of one study."""

    fault: str
    storage: str = "SQLite"
    workers: int = 1
    kills: Counter[str] = field(default_factory=Counter)  # SIGKILLs, by where
    wanted: int = 0
    finished: int = 0
    twice: int = 0  # trials or configurations that were run twice
    loss: float = 0.0  # kframes that had to be trained again, at most, after one fault
    most: float = INTERVAL  # kframes that a fault may cost
    step: bool = True  # one more update, which crosses the end of an interval, may be lost too
    equal: bool | None = None  # to the undisturbed study; None where they cannot be compared
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """Shared by all studies of the suite: a folder, a corpus spoken once, a PostgreSQL server, the undisturbed studies."""

    def __init__(self, root: Path, seed: int, lengths: dict[str, int]) -> None:
        self.root, self.seed, self.lengths = root, seed, lengths
        root.chmod(0o711)  # PostgreSQL runs as another user
        self.spoken, self.postgres = root / "spoken", root / "pg"
        self._undisturbed: dict[str, dict[tuple[int, int], Result]] = {}
        self._locks = {kind: Lock() for kind in lengths}
        self.spoken.mkdir()
        with Study(self, "spoken", trials=1) as study:
            study.finish(more=("--timeout", "1e-9"))

    def undisturbed(self, kind: str) -> dict[tuple[int, int], Result]:
        """The results of an undisturbed study, by k and depth of repair, in the order in which they were tried."""
        with self._locks[kind]:
            if kind not in self._undisturbed:
                with Study(self, f"undisturbed-{kind}", trials=self.lengths[kind], kind=kind) as study:
                    study.start(plain=True).ends(0)
                    self._undisturbed[kind] = study.results()
        return self._undisturbed[kind]


class Study:
    """One study in its own folder. A context manager: at its end no process of the study is left."""

    program = "objective.study"

    def __init__(
        self,
        bench: Bench,
        name: str,
        row: Row | None = None,
        trials: int = 3,
        kind: str = TPE,
        more: Sequence[str] = (),
        url: str | None = None,
        out: Path | None = None,
        cold: bool = False,  # without mels in the cache
    ) -> None:
        self.bench, self.name, self.kind = bench, name, kind
        self.row = row or Row(name)
        self.row.wanted = trials
        self.out = out or bench.root / name
        self.logs = bench.root / f"{name}.logs"
        self.logs.mkdir()
        self.out.mkdir(exist_ok=True)
        if self.out != bench.spoken:
            for part in ("corpora",) if cold else ("corpora", "cache"):
                shutil.copytree(bench.spoken / part, self.out / part)
        (self.out / "small.yaml").write_text(SETTINGS)
        (self.out / "space.yaml").write_text(SPACE)
        local = f"postgres-local:{bench.postgres}" if self.row.storage == "PostgreSQL" else f"sqlite:///{self.out}/tacotune.db"
        self.url = url or local
        files = ["--settings", f"{self.out}/small.yaml", "--space", f"{self.out}/space.yaml", "--out", str(self.out)]
        self.arguments = [*files, "--device", "cpu", "--storage", self.url, "--study", name, "--trials", str(trials)]
        self.arguments += [*ARGUMENTS[kind], *more]
        if self.row.workers > 1:
            self.arguments += ["--workers", str(self.row.workers)]
        self.by_key = self.row.workers > 1  # which configurations are tried depends on the workers' order or on a person
        self.incomparable = False  # it has other settings than the undisturbed study
        self.poisoned = False  # one of its configurations is to be given up
        self.runs: list[Run] = []
        self._stored: optuna.Study | None = None
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self.runs:
            run.stop()
        if self._stored is not None:
            self._stored._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        for pid in self.pids():
            _kill(pid)
        self.row.seconds += time.monotonic() - self.began

    @property
    def folder(self) -> Path:
        return self.out / self.name

    def start(self, *faults: str, more: Sequence[str] = (), plain: bool = False) -> "Run":
        """Start the command; `plain`: without the launcher that records evidence."""
        run = Run(self.program, [*self.arguments, *more], self.logs / str(len(self.runs)), faults, plain)
        self.runs.append(run)
        return run

    def finish(self, *faults: str, more: Sequence[str] = ()) -> "Run":
        """Run the command until it is complete, which it must report itself."""
        run = self.start(*faults, more=more)
        run.ends(0)
        return run

    def evidence(self) -> list[Evidence]:
        return [line for run in self.runs for line in run.evidence()]

    def pids(self) -> list[int]:
        """Return the numbers of this study's processes that are still alive."""
        worked = {line["pid"] for line in self.evidence()}
        return [pid for pid in worked if f"{self.logs}/".encode() in _environment(pid)]

    def stored(self) -> optuna.Study:
        """Load the study from its database."""
        if self._stored is None:
            self._stored = optuna.load_study(storage=open_storage(self.url), study_name=self.name)
        return self._stored

    def results(self) -> dict[tuple[int, int], Result]:
        return {key(trial): result(trial) for trial in finished(self.stored())}


class Run:
    """One run of the command, as a process that can be watched and disturbed."""

    def __init__(self, program: str, arguments: Sequence[str], log: Path, faults: Sequence[str], plain: bool) -> None:
        self.log = log
        line = [sys.executable, "-m", "tests.faults.launcher", str(log), *faults, "--", program]
        line = [sys.executable, "-m", program] if plain else line
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with Path(f"{log}.out").open("wb") as out, Path(f"{log}.err").open("wb") as err:
            more: dict[str, Any] = {"env": environment, "start_new_session": True}  # a group for Ctrl-C
            self.process = subprocess.Popen([*line, *arguments], cwd=ROOT, stdout=out, stderr=err, **more)
        self.pid = self.process.pid

    def evidence(self) -> list[Evidence]:
        """The evidence that its processes have recorded so far."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def stdout(self) -> str:
        return Path(f"{self.log}.out").read_text()

    @property
    def stderr(self) -> str:
        return Path(f"{self.log}.err").read_text()

    def until(self, seen: Callable[["Run"], bool], what: str) -> None:
        """Wait until `seen`. Raises Broken where the command ends before or hangs."""
        if not self.reaches(seen):
            raise Broken(f"the command ended ({self.process.returncode}) before {what}: {self.stderr.strip()[-400:]}")

    def reaches(self, seen: Callable[["Run"], bool]) -> bool:
        """Wait until `seen`; return False where the command ends before."""
        deadline = time.monotonic() + LONGEST_S
        while not seen(self):
            if self.process.poll() is not None:
                return seen(self)
            if time.monotonic() > deadline:
                raise Broken(f"the command hangs: {self.stdout[-400:]}")
            time.sleep(0.01)  # the command sends no notification
        return True

    def updates(self, count: int) -> bool:
        """Wait for `count` updates of any trials."""
        return self.reaches(lambda run: sum(line["what"] == "progressed" for line in run.evidence()) >= count)

    def ends(self, *codes: int) -> int:
        """Wait for its end. Raises Broken for another exit code than one of `codes`."""
        try:
            code = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Broken(f"the command did not end within {LONGEST_S:.0f} s: {self.stdout[-400:]}") from None
        if code not in codes:
            raise Broken(f"the command ended with {code}, not {codes}: {self.stderr.strip()[-600:]}")
        if "Traceback" in self.stderr:
            raise Broken(f"a traceback: {self.stderr.strip()[-600:]}")
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Kill it, unless it has ended."""
        if self.process.poll() is None:
            self.kill()


@contextmanager
def measured(row: Row) -> Iterator[Row]:
    """Record a promise that is broken inside the block."""
    try:
        yield row
    except Broken as why:
        row.broken.append(str(why))


def end_within(pids: Callable[[], Sequence[int]], seconds: float) -> bool:
    """Return whether all processes end within `seconds`."""
    deadline = time.monotonic() + seconds
    while pids():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # orphans cannot be waited for
    return True


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _environment(pid: int) -> bytes:
    """Its command line and environment; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def key(trial: FrozenTrial) -> tuple[int, int]:
    """The key of a configuration: its k, and its number of repairs since it was sampled."""
    return trial.user_attrs["k"], trial.user_attrs.get("repair_depth", 0)


def result(trial: FrozenTrial) -> Result:
    return trial.params, trial.value, trial.intermediate_values, trial.state.name
