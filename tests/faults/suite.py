"""The fault suite: run all studies under faults, several at once, and report whether every promise was kept."""

import argparse
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from storage.postgres import stop
from tests.faults import files, outages, people, training
from tests.faults.harness import RANDOM, ROOT, SICK, TPE, Bench, Row
from tests.faults.kills import ANY, four_workers, one_worker
from tests.faults.report import document

LANES = 3  # studies that run at once; some always wait for a server, a grace period or a signal
LEAST_KILLS = 40
Job = Callable[[Bench], Iterable[Row]]


def _one(name: str, storage: str, trials: int, places: str, kind: str = TPE) -> Job:
    named = [ANY if place == "any" else place for place in places.split()]
    return partial(one_worker, name=name, storage=storage, trials=trials, places=named, kind=kind)


FULL_LENGTHS, QUICK_LENGTHS = {TPE: 12, RANDOM: 10, SICK: 6}, {TPE: 3}
QUICK: dict[str, Job] = {
    "kills": _one("kills", "SQLite", 3, "mels snapshot tell any"),
    "training": partial(training.killed, times=1),
}
FULL: dict[str, Job] = {  # long ones first, so that all lanes end together
    "four-sqlite": partial(four_workers, name="four-sqlite", storage="SQLite"),
    "four-postgres": partial(four_workers, name="four-postgres", storage="PostgreSQL"),
    "one-long": _one("one-long", "SQLite", 12, "any snapshot any tell any any"),
    "damaged": files.damaged_snapshots,
    "one-postgres": _one("one-postgres", "PostgreSQL", 4, "mels snapshot any tell any snapshot"),
    "one-postgres-2": _one("one-postgres-2", "PostgreSQL", 4, "any tell release snapshot any tell"),
    "one-sqlite": _one("one-sqlite", "SQLite", 4, "mels mels snapshot tell any release"),
    "one-sick": _one("one-sick", "SQLite", 6, "snapshot any tell any", SICK),
    "one-ask": _one("one-ask", "SQLite", 4, "ask snapshot ask"),
    "signals-2": partial(people.signals, workers=2, times=1),
    "signals-1": partial(people.signals, workers=1, times=2),
    "starting": people.starting,
    "restarts": outages.postgres_restarts,
    "away": outages.postgres_away,
    "locked": outages.sqlite_locked,
    "disk": files.full_disk,
    "mels": files.damaged_mels,
    "paused": people.paused,
    "clocks": people.wrong_clocks,
    "hanging": people.hanging,
    "poison": people.poison,
    "destroyed": files.destroyed_snapshots,
    "button": people.fail_button,
    "dead": people.dead_in_a_row,
    "training-killed": training.killed,
    "training-stopped": training.interrupted,
    "training-full": training.full_disk,
    "training-poisoned": training.poisoned,
}


def run(jobs: dict[str, Job], bench: Bench) -> list[Row]:
    """Run every job, LANES at once; print each row as soon as it is complete."""
    with ThreadPoolExecutor(LANES) as lanes:
        for results in lanes.map(bench.undisturbed, bench.lengths if len(jobs) > 1 else ()):
            _print(f"undisturbed: {len(results)} trials")
        futures = {lanes.submit(_rows, name, job, bench): name for name, job in jobs.items()}
        return [row for future in as_completed(futures) for row in future.result()]


def _rows(name: str, job: Job, bench: Bench) -> list[Row]:
    rows = []
    try:
        for row in job(bench):
            rows.append(row)
            _show(row)
    except Exception:  # an unexpected failure of one study must not end the others
        rows.append(Row(name, broken=[traceback.format_exc()]))
        _show(rows[-1])
    return rows


def _show(row: Row) -> None:
    workers = "1 worker" if row.workers == 1 else f"{row.workers} workers"
    kills = f", {row.kills.total()} kills" if row.kills else ""
    _print(f"{'BROKEN' if row.broken else 'ok':6} {row.seconds:4.0f} s  {row.storage}, {workers}{kills}: {row.fault}")
    for sentence in (*row.notes, *row.broken):
        _print(f"         {sentence}")


def _print(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite from the command line. Exit codes: 0 every promise was kept, 1 one was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Run studies on failing machines and check what is promised."
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the places and moments of the faults")
    parser.add_argument("--quick", action="store_true", help="a few kills on SQLite; writes no document")
    parser.add_argument("--only", choices=sorted(FULL), help="one study, or a few of one kind; writes no document")
    parsed = parser.parse_args(arguments)
    jobs = QUICK if parsed.quick else {parsed.only: FULL[parsed.only]} if parsed.only else FULL
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell starts background jobs with SIGINT ignored, and children inherit that
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tacotune-") as folder:
        bench = Bench(Path(folder), parsed.seed, QUICK_LENGTHS if parsed.quick else FULL_LENGTHS)
        try:
            rows = run(jobs, bench)
        finally:
            _stop(bench)
    seconds, kills = time.monotonic() - began, sum(row.kills.total() for row in rows)
    broken = sum(bool(row.broken) for row in rows)
    complete = jobs is FULL
    if complete and kills < LEAST_KILLS:
        _print(f"only {kills} kills, need {LEAST_KILLS}: the studies end too early")
        broken += 1
    if complete:
        (ROOT / "docs" / "reliability.md").write_text(document(rows, seconds, parsed.seed), encoding="utf-8")
    _print(f"{len(rows)} studies, {kills} SIGKILLs, {broken} with a broken promise, in {seconds:.0f} s")
    return 1 if broken else 0


def _stop(bench: Bench) -> None:
    for folder in bench.root.glob("pg*"):
        stop(folder)
