"""A study under faults: its command is typed until it is done, and what it leaves behind is held against what is promised."""

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
LONGEST_S = 180.0  # that a command may take
SETTINGS = f"""
data: {{demo_utterances: 24, validation_utterances: 6}}
budget: {{kframes: {KFRAMES}, reports: {REPORTS}}}
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
# Three kinds of study, and how many trials an undisturbed one needs to be compared with all others.
TPE, RANDOM, SICK = "tpe", "random", "sick"
WORDS = {
    TPE: ["--sampler", "tpe"],
    # A point depends on its k alone, so workers beside each other try the same ones; a recipe's k depends on who is quicker.
    RANDOM: ["--sampler", "random", "--set", "study.recipes=[]"],
    SICK: ["--sampler", "tpe", "--set", "pruner.name=health", "--set", "repair.max_per_trial=1"],
}
Evidence = dict[str, Any]
Point = tuple[dict[str, Any], float | None, dict[int, float], str]  # parameters, value, reports, state


class Broken(Exception):
    """A promise is broken."""


@dataclass
class Row:
    """What was measured of one study."""

    fault: str
    storage: str = "SQLite"
    workers: int = 1
    kills: Counter[str] = field(default_factory=Counter)  # SIGKILLs, by where
    wanted: int = 0
    finished: int = 0
    twice: int = 0  # trials or points that were run twice
    loss: float = 0.0  # kframes: the most that one fault cost
    most: float = INTERVAL  # that it may cost
    step: bool = True  # and the update, too, that crosses the end of an interval
    equal: bool | None = None  # to the undisturbed study; None where its order decides
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """What all studies of the suite share: a folder, a corpus spoken once, a PostgreSQL server, the undisturbed studies."""

    def __init__(self, root: Path, seed: int, lengths: dict[str, int]) -> None:
        self.root, self.seed, self.lengths = root, seed, lengths
        root.chmod(0o711)  # the user of PostgreSQL has to pass
        self.spoken, self.postgres = root / "spoken", root / "pg"
        self._known: dict[str, dict[tuple[int, int], Point]] = {}
        self._locks = {kind: Lock() for kind in lengths}
        self.spoken.mkdir()
        with Study(self, "spoken", trials=1) as study:
            study.finish(more=("--timeout", "1e-9"))

    def undisturbed(self, kind: str) -> dict[tuple[int, int], Point]:
        """The points of a study that nothing happens to, by k and depth of repair, in the order in which they were tried."""
        with self._locks[kind]:
            if kind not in self._known:
                with Study(self, f"undisturbed-{kind}", trials=self.lengths[kind], kind=kind) as study:
                    study.start(plain=True).ends(0)
                    self._known[kind] = study.points()
        return self._known[kind]


class Study:
    """One study in a folder of its own. A context manager: at its end nobody of it lives."""

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
        cold: bool = False,  # with no mel in the cache
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
        self.words = [*files, "--device", "cpu", "--storage", self.url, "--study", name, "--trials", str(trials)]
        self.words += [*WORDS[kind], *more]
        if self.row.workers > 1:
            self.words += ["--workers", str(self.row.workers)]
        self.by_key = self.row.workers > 1  # which points there are depends on who is quicker, or on what a person did
        self.unknown = False  # of other settings than the undisturbed study
        self.poisoned = False  # a point is to be given up
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
        """Type the command; `plain`: the command itself, with no evidence taken."""
        run = Run([*self.words, *more], self.logs / str(len(self.runs)), faults, plain)
        self.runs.append(run)
        return run

    def finish(self, *faults: str, more: Sequence[str] = ()) -> "Run":
        """Type the command, and wait until it is done: it must say so itself."""
        run = self.start(*faults, more=more)
        run.ends(0)
        return run

    def evidence(self) -> list[Evidence]:
        return [line for run in self.runs for line in run.evidence()]

    def pids(self) -> list[int]:
        """Of the processes that worked for this study and still live."""
        worked = {line["pid"] for line in self.evidence()}
        return [pid for pid in worked if f"{self.logs}/".encode() in _environment(pid)]

    def stored(self) -> optuna.Study:
        """As it stands in the database."""
        if self._stored is None:
            self._stored = optuna.load_study(storage=open_storage(self.url), study_name=self.name)
        return self._stored

    def points(self) -> dict[tuple[int, int], Point]:
        return {key(trial): point(trial) for trial in finished(self.stored())}


class Run:
    """The command, typed once, as a process that can be watched and disturbed."""

    def __init__(self, words: Sequence[str], log: Path, faults: Sequence[str], plain: bool) -> None:
        self.log = log
        line = [sys.executable, "-m", "tests.faults.launcher", str(log), *faults, "--"]
        line = [sys.executable, "-m", "objective.study"] if plain else line
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with Path(f"{log}.out").open("wb") as out, Path(f"{log}.err").open("wb") as err:
            more: dict[str, Any] = {"env": environment, "start_new_session": True}  # a group for Ctrl-C
            self.process = subprocess.Popen([*line, *words], cwd=ROOT, stdout=out, stderr=err, **more)
        self.pid = self.process.pid

    def evidence(self) -> list[Evidence]:
        """What its processes have written down so far."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def said(self) -> str:
        return Path(f"{self.log}.out").read_text()

    @property
    def complained(self) -> str:
        return Path(f"{self.log}.err").read_text()

    def until(self, seen: Callable[["Run"], bool], what: str) -> None:
        """Wait for something. Broken where the command ends before, or does not come to it."""
        if not self.reaches(seen):
            raise Broken(f"the command ended ({self.process.returncode}) before {what}: {self.complained.strip()[-400:]}")

    def reaches(self, seen: Callable[["Run"], bool]) -> bool:
        """Wait for something; False where the command ends before."""
        deadline = time.monotonic() + LONGEST_S
        while not seen(self):
            if self.process.poll() is not None:
                return seen(self)
            if time.monotonic() > deadline:
                raise Broken(f"nothing happens any more: {self.said[-400:]}")
            time.sleep(0.01)  # the command does not say when
        return True

    def updates(self, count: int) -> bool:
        """Wait for so many updates, of whatever trials."""
        return self.reaches(lambda run: sum(line["what"] == "moved" for line in run.evidence()) >= count)

    def ends(self, *codes: int) -> int:
        """Wait for its end; Broken for another exit code than one of `codes`."""
        try:
            code = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Broken(f"the command did not end within {LONGEST_S:.0f} s: {self.said[-400:]}") from None
        if code not in codes:
            raise Broken(f"the command ended with {code}, not {codes}: {self.complained.strip()[-600:]}")
        if "Traceback" in self.complained:
            raise Broken(f"a traceback: {self.complained.strip()[-600:]}")
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """StopReason it, in whatever state it is."""
        if self.process.poll() is None:
            self.kill()


@contextmanager
def measured(row: Row) -> Iterator[Row]:
    """A promise that is broken inside is noted."""
    try:
        yield row
    except Broken as why:
        row.broken.append(str(why))


def gone(pids: Callable[[], Sequence[int]], seconds: float) -> bool:
    """Whether all of them end within so many seconds."""
    deadline = time.monotonic() + seconds
    while pids():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # they are nobody's children any more, so nobody can wait for them
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
    """Of a point: its k, and how many repairs it is away from the point that was sampled."""
    return trial.user_attrs["k"], trial.user_attrs.get("repair_depth", 0)


def point(trial: FrozenTrial) -> Point:
    return trial.params, trial.value, trial.intermediate_values, trial.state.name
