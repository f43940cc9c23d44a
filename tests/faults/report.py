"""Write docs/reliability.md: what is promised, and what the suite has measured."""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import date

from tests.faults.harness import INTERVAL, KFRAMES, Row

HEAD = """# What survives when machines fail

Written by `python -m tests.faults` (`make faults`), {date}, {cores} CPU cores, {minutes:.0f} minutes, seed {seed}. A part of
it runs with the tests. The same command with another `--seed` kills at other places and moments; `--only NAME` repeats one
study.

Terms: a *configuration* is one choice of the searched parameters, and a *trial* trains one network with it. *Kframes* are
thousands of mel frames that a trial has trained on.

## What is promised

- **Every study ends with exactly the number of trials that was requested**, whatever is killed and however often the command
  is repeated.
- **No trial is run by two workers, and no configuration is finished twice.** A trial that a machine stopped is released, and
  its configuration is retried as a new trial with its parameters, its seed and its reports.
- **A kill costs at most one snapshot interval** of a trial's frames, and the update that crosses the end of the interval;
  Ctrl-C and SIGTERM cost nothing. A damaged snapshot costs one more interval, and a warning names it.
- **On a CPU the values are those of an undisturbed study, bit for bit**: parameters, reports and result of each configuration.
  With one worker the list of trials is the same. With several, their relative speed decides what the sampler has seen; there
  the configurations of a random sampler are compared, which depend on nothing else.
- **A failure of the machine does not count against a configuration.** Disk full, database gone, mel cache damaged: the trial
  is released, and the worker prints the reason in one sentence and exits with 1, or waits and continues by itself
  (`study.on_failure`).
- **Nothing is left behind**: no process, no trial that seems to run, no half-written file.

## What was measured

Real studies: a tiny network, trials of {kframes} kframes, a snapshot every {interval:g}, a real SQLite file, a real PostgreSQL
(`postgres-local`), real processes. Each study is compared with an undisturbed one. *Loss*: the most frames that a trial had to
train again after one fault. *Values*: whether they equal those of the undisturbed study.
"""
PLACES = {
    "any moment": "at any moment",
    "snapshot": "during a snapshot: half written; written, not yet renamed; the old one already moved",
    "tell": "while a result is stored (tell): before or after one of its commits",
    "mels": "during a write of the mel cache",
    "ask": "while a configuration is requested (ask): before or after one of its commits",
    "release": "while another worker's trial is released",
    "supervisor": "the supervisor of four workers, at any moment",
}


def document(rows: Sequence[Row], seconds: float, seed: int) -> str:
    values = {"date": date.today().isoformat(), "cores": os.cpu_count(), "minutes": seconds / 60, "seed": seed}
    parts = [HEAD.format(**values, kframes=KFRAMES, interval=INTERVAL), _faults(rows), _kills(rows), _broken(rows)]
    return "\n".join(part for part in parts if part)


def _faults(rows: Sequence[Row]) -> str:
    """The table of faults, with all studies of one kind in one line."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.fault != "SIGKILL", row.fault, row.storage, row.workers)):
        groups.setdefault((row.fault, row.storage, row.workers), []).append(row)
    lines = [
        "| fault | storage | workers | studies | SIGKILLs | trials finished / requested | run twice | loss, kframes | values |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (fault, storage, workers), some in groups.items():
        counts = f"{len(some)} | {sum(row.kills.total() for row in some)}"
        trials = f"{sum(row.finished for row in some)} / {sum(row.wanted for row in some)} | {sum(row.twice for row in some)}"
        loss = f"{max(row.loss for row in some):.2f}"
        lines.append(f"| {fault} | {storage} | {workers} | {counts} | {trials} | {loss} | {_equal(some)} |")
    return "\n".join(lines) + "\n"


def _equal(rows: Sequence[Row]) -> str:
    compared = [row.equal for row in rows if row.equal is not None]
    if not compared:
        return "not comparable"
    return "equal" if all(compared) else "**different**"


def _kills(rows: Sequence[Row]) -> str:
    columns = [("SQLite", 1), ("SQLite", 4), ("PostgreSQL", 1), ("PostgreSQL", 4)]
    counted = {column: Counter[str]() for column in columns}
    for row in rows:
        if (row.storage, row.workers) in counted:
            counted[row.storage, row.workers].update(row.kills)
    lines = [
        "The SIGKILLs by place, of all studies together:\n",
        "| | SQLite, 1 worker | SQLite, 4 workers | PostgreSQL, 1 worker | PostgreSQL, 4 workers |",
        "|---|---|---|---|---|",
    ]
    for place, text in PLACES.items():
        lines.append(f"| {text} | {' | '.join(str(counted[column][place]) for column in columns)} |")
    return "\n".join(lines) + "\n"


def _broken(rows: Sequence[Row]) -> str:
    broken = [f"- {row.storage}, {row.workers}: {row.fault}: {sentence}" for row in rows for sentence in row.broken]
    return "\n".join(["## Promises that were broken\n", *broken, ""]) if broken else ""
