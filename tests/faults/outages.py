"""Outages of the database: a PostgreSQL server that is stopped or killed, a SQLite file locked by another process."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random

from storage.postgres import start, stop
from tests.faults.harness import RANDOM, TPE, Bench, Broken, Row, Run, Study, measured
from tests.faults.judge import judge

BRIEF = ("--set", "study.database_s=2")  # seconds for which an operation is retried
WAIT = ("--set", "study.on_failure=wait")
IMPATIENT = "set:storage.studies.BUSY_SECONDS:1"


class Server:
    """A separate PostgreSQL server, so that no other study is affected."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.folder = bench.root / name
        self.url = f"postgres-local:{self.folder}"
        self.start()

    def start(self) -> None:
        start(self.folder)

    def stop(self) -> None:
        stop(self.folder)

    def kill(self) -> None:
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def postgres_restarts(bench: Bench) -> Iterator[Row]:
    """The server is away for a few seconds during a trial: only the log shows it."""
    server, random = Server(bench, "pg-a"), Random(f"{bench.seed} restarts")
    for fault, away, workers in (("stopped", server.stop, 1), ("killed", server.kill, 1), ("stopped", server.stop, 2)):
        row = Row(f"server {fault}, back after 3 to 5 s", "PostgreSQL", workers)
        kind = TPE if workers == 1 else RANDOM
        name = f"server-{fault}-{workers}"
        with Study(bench, name, row, 3, kind, url=server.url) as study, measured(row):
            run = study.start("slow:0.05")
            if run.updates(random.randint(3, 25)):
                away()
                time.sleep(random.uniform(3, 5))  # the duration of the fault, as below
                server.start()
            run.ends(0)
            _undisturbed(study)
            judge(study)
        yield row
    server.stop()


def postgres_away(bench: Bench) -> Iterator[Row]:
    """The server is away for longer than operations are retried: the worker reports it and ends, or waits."""
    server, random = Server(bench, "pg-b"), Random(f"{bench.seed} away")
    for setting in ("stop", "wait"):
        row = Row(f"server away for longer than database_s, on_failure={setting}", "PostgreSQL")
        more = BRIEF + WAIT if setting == "wait" else BRIEF
        with Study(bench, f"away-{setting}", row, url=server.url, more=more) as study, measured(row):
            run = study.start("slow:0.05")
            run.updates(random.randint(3, 25))
            server.stop()
            _continues(study, run, setting, server.start)
        yield row
    server.stop()


def sqlite_locked(bench: Bench) -> Iterator[Row]:
    """Another process locks the file for a few seconds, or for longer than operations are retried."""
    random = Random(f"{bench.seed} locked")
    row = Row("file locked for 3 s")
    with Study(bench, "locked", row) as study, measured(row):
        run = study.start("slow:0.05")
        run.updates(random.randint(3, 25))
        with closing(_lock(study)):
            time.sleep(3)
        run.ends(0)
        _undisturbed(study)
        judge(study)
    yield row
    for setting in ("stop", "wait"):
        row = Row(f"file locked for longer than database_s, on_failure={setting}")
        more = BRIEF + WAIT if setting == "wait" else BRIEF
        with Study(bench, f"locked-{setting}", row, more=more) as study, measured(row):
            run = study.start("slow:0.05", IMPATIENT)
            run.updates(random.randint(3, 25))
            holder = _lock(study)
            _continues(study, run, setting, holder.close)
        yield row


def _lock(study: Study) -> sqlite3.Connection:
    holder = sqlite3.connect(study.url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def _continues(study: Study, run: Run, setting: str, fix: Callable[[], None]) -> None:
    """The worker reports the failure. Once it is fixed, the same command or the waiting worker continues."""
    try:
        expect_failure_message(run, setting)
    finally:
        fix()
    run.ends(0) if setting == "wait" else study.finish()
    judge(study)


def expect_failure_message(run: Run, setting: str) -> None:
    """Expect one sentence and exit code 1, or a warning that the worker retries, depending on study.on_failure."""
    if setting == "wait":
        run.until(lambda run: "retrying in" in run.stdout, "it reported that it retries")
        return
    run.ends(1)
    sentence = run.stderr.strip().splitlines()[-1]
    if not sentence.startswith("the machine failed: "):
        raise Broken(f"its message was {sentence!r}")


def _undisturbed(study: Study) -> None:
    trials = study.stored().get_trials(deepcopy=False)
    if any("released" in trial.user_attrs for trial in trials):
        raise Broken("a trial was released, though the database was away only for a moment")
