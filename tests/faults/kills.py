"""SIGKILL at seeded places: at any moment, while a snapshot or the mel cache is written, in an ask, a tell or a release."""

import os
import signal
import time
from collections.abc import Iterator
from random import Random

from tests.faults.harness import RANDOM, TPE, Bench, Broken, Row, Run, Study, measured
from tests.faults.judge import judge

ANY = "any moment"
COMMIT = ("before", "after")  # the commit; after: before its answer is read


def one_worker(bench: Bench, name: str, storage: str, trials: int, places: list[str], kind: str = TPE) -> Iterator[Row]:
    """Kill the command at each of `places` in turn and run it again, finally to its end."""
    random, row = Random(f"{bench.seed} {name}"), Row("SIGKILL", storage)
    with Study(bench, name, row, trials, kind, cold="mels" in places) as study, measured(row):
        study.by_key = "ask" in places  # a trial without an owner is released after half a minute, and others run before
        for place in places:
            run = study.start(*_fault(place, random))
            if place == ANY and run.updates(random.randint(1, 45)):
                time.sleep(random.uniform(0, 1.5))  # what follows the training takes longer than the training itself
                run.stop()
            if run.ends(-signal.SIGKILL, 0) == 0:
                row.notes.append(f"done before the kill ({place})")
                break
            row.kills[place] += 1
        study.finish()
        judge(study)
    yield row


def four_workers(bench: Bench, name: str, storage: str, trials: int = 6) -> Iterator[Row]:
    """Kill the supervisor in the mel cache, workers in a snapshot, a tell, a release and at any moment, then the supervisor."""
    random, row = Random(f"{bench.seed} {name}"), Row("SIGKILL", storage, 4)
    with Study(bench, name, row, trials, RANDOM, cold=True) as study, measured(row):
        run = study.start(*_fault("mels", random))
        run.ends(-signal.SIGKILL)
        _count(run, row)
        run = study.start(*_fault("snapshot", random), *_fault("tell", random))
        _a_worker(run, random, row, random.randint(5, 60))
        if run.updates(random.randint(80, 140)):
            run.stop()  # its workers end by themselves, while those of the next command start
            row.kills["supervisor"] += 1
        _count(run, row)
        run = study.start(*_fault("snapshot", random), *_fault("release", random))
        _a_worker(run, random, row, random.randint(5, 40))
        run.ends(0)
        _count(run, row)
        judge(study)
    yield row


def _a_worker(run: Run, random: Random, row: Row, updates: int) -> None:
    """Kill one of the training workers, a moment after `updates` updates."""
    if not run.updates(updates):
        raise Broken(f"the command ended before a worker could be killed: {run.stderr.strip()[-400:]}")
    time.sleep(random.uniform(0, 0.5))  # at any moment, not only just after an update
    hit = {line["pid"] for line in run.evidence() if line["what"] == "hit"}
    living = sorted({line["pid"] for line in run.evidence() if line["what"] == "progressed"} - hit)
    if living:
        os.kill(random.choice(living), signal.SIGKILL)
        row.kills[ANY] += 1


def _count(run: Run, row: Row) -> None:
    row.kills.update(line["fault"].partition(":")[0] for line in run.evidence() if line["what"] == "hit")


def _fault(place: str, random: Random) -> list[str]:
    """The exact place, as an argument of the launcher."""
    match place:
        case "snapshot":
            return [f"snapshot:{random.randint(1, 7)}:{random.choice(('half', 'written', 'moved'))}"]
        case "mels":
            return [f"mels:{random.randint(1, 40)}"]
        case "tell":
            return [f"tell:{random.randint(1, 36)}:{random.choice(COMMIT)}"]
        case "ask" | "release":
            return [f"{place}:{random.randint(1, 2)}:{random.choice(COMMIT)}"]
    return []
