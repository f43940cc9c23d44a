"""Measure the cost of the database: `python -m benchmarks.storage [--sizes 100 1000 10000] [--workers 1 8 32] [--json OUT]`.

First the cost of every step of a trial (ask, report, prune, tell, and the reads in between) in studies that already hold
finished trials of 24 reports, on SQLite and on a local PostgreSQL server. Then the trials that simulated workers finish side
by side on PostgreSQL: the real worker, whose training replays a recorded curve in real time. A worker should always train.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import torch

from benchmarks.filled_study import fill
from model.report import Gradients, Health, Losses, Report
from model.selftest import Abilities
from objective.events.fanout import Sinks
from objective.runtime.signals import Interruption
from objective.search import worker
from objective.search.enqueue import enqueue_next as enqueue
from objective.search.worker import SAMPLER, sampler, seed, tell, work
from objective.settings.schema import Settings
from objective.trial.checkpoint import TrialHistory
from objective.trial.context import TrainingData, WorkerContext
from objective.trial.ears import Ears
from objective.trial.run import TrialResult
from pruners.factory import make_pruner
from pruners.health_record import empty
from pruners.replay.archive import Curve, read
from pruners.rules import shipped_rules
from search_spaces.space import Space, load
from storage.leases import Lease, Watch
from storage.outcome import finished
from storage.studies import open_storage

ARCHIVE = Path(__file__).parent / "recorded" / "matrix-en.jsonl"
NAME = "benchmark"
TRIALS = 20  # measured for each size


def report_of(point: dict[str, Any]) -> Report:
    """Return the report that a point of a recorded curve was."""
    losses = {name: point.get(name) for name in ("mel_before", "mel_after", "gate", "guided")}
    measured = {name: point.get(name) for name in Health.__slots__}
    norms = {name.removeprefix("grad_norm_"): point[name] for name in ("grad_norm_median", "grad_norm_p95")}
    gradients = Gradients(**norms, nonfinite=point["nonfinite"], streak=point["streak"], clipped=point.get("clipped"))
    # the archive has only the sum of the training losses, and nothing here reads the terms
    train = Losses(point["train_loss"], 0.0, 0.0, 0.0)
    health = Health(**measured)
    return Report(point["kframes"], 0, 0.0, 0.0, 0.0, train, Losses(**losses), gradients, health, health)


def settings_of(url: str, out: Path) -> Settings:
    study = {"name": NAME, "storage": url, "space": "record", "trials": 1_000_000}
    return Settings.model_validate({"profile": "demo", "out": out, "study": study, "budget": {"kframes": 400}})


def lab_of(settings: Settings, space: Space, study: optuna.Study) -> WorkerContext:
    """A worker's context without a corpus, a device and a network."""
    study.pruner = make_pruner(settings.budget.total_kframes, settings.pruner, settings.health, score=settings.objective.score)
    watch, none = Watch(settings.study.grace_s), Sinks([])
    known = TrainingData(space, None, torch.device("cpu"), Abilities("deferred", False), None, None, Ears(None))  # type: ignore[arg-type]
    return WorkerContext(settings, known, None, shipped_rules(settings.health), watch, none, Interruption())  # type: ignore[arg-type]


def costs(url: str, out: Path, size: int, curves: Sequence[Curve]) -> dict[str, float]:
    """Median milliseconds of each step in a study of `size` finished trials, and of all that a trial of 24 reports pays."""
    settings = settings_of(url, out)
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name=NAME, direction="minimize", load_if_exists=True)
    space = load("record", settings.config())
    fill(study, size, curves, space)
    study = optuna.load_study(storage=open_storage(url), study_name=NAME)
    context = lab_of(settings, space, study)
    began = time.perf_counter()
    finished(study)
    opening = 1e3 * (time.perf_counter() - began)
    times: dict[str, list[float]] = {}

    def timed(label: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        times.setdefault(label, []).append(1e3 * (time.perf_counter() - start))
        return result

    wholes: list[float] = []
    for count, curve in enumerate(curves):  # a trial that is pruned has fewer reports: its steps count, its sum does not
        if len(wholes) == TRIALS:
            break
        start, stopped = time.perf_counter(), False
        trials, _ = timed("look", partial(worker.reclaim, study, context))
        timed("owed", partial(enqueue, study, trials, space, (), settings.repair.max_per_trial))
        trial = timed("ask", study.ask)
        study.sampler = sampler("tpe", seed(0, size + count, SAMPLER))
        with Lease(study, trial, context.watch, 600.0, print):
            trial.set_user_attr("k", size + count)
            timed("suggest", partial(space.suggest, trial))
            history = TrialHistory({}, empty(curve.budget_kframes))
            for point in curve.more["points"]:
                history.add(report_of(point))
                timed("report", partial(_report, trial, history))
                stopped = timed("prune", trial.should_prune)
                if stopped:
                    break
        timed("tell", partial(tell, study, trial, _ending(history, curve), "tpe"))
        timed("after", partial(worker._conclude, study, trial, context, _ending(history, curve)))
        if not stopped:
            wholes.append(1e3 * (time.perf_counter() - start))
    return {"opening": opening} | {label: median(known) for label, known in times.items()} | {"a trial": median(wholes)}


def _report(trial: optuna.Trial, history: TrialHistory) -> None:
    trial.set_user_attr("health", history.record)
    if history.last is not None and history.last.val_loss is not None:
        trial.report(history.last.val_loss, round(history.last.kframes))


def _ending(history: TrialHistory, curve: Curve) -> TrialResult:
    return TrialResult(
        value=curve.value or 9.0, last=history.last, best=history.last, violations=curve.violations, seconds=60.0
    )


def simulate(url: str, out: Path, place: int, seconds: float, trial_s: float, gate: Any, results: Any) -> None:
    """One worker for `seconds`, whose whole trials take `trial_s` seconds; puts how long it trained, and its trials."""
    settings = settings_of(url, out)
    space = load("record", settings.config())
    study = optuna.load_study(storage=open_storage(url), study_name=NAME)
    context = lab_of(settings, space, study)
    curves = read(ARCHIVE)
    busy, trials = 0.0, 0

    def replayed(
        trial: optuna.Trial, config: Any, context: WorkerContext, seed: int, lease: Lease, line: Sequence[int]
    ) -> TrialResult:
        nonlocal busy, trials
        curve = curves[trial.number % len(curves)]
        history, pace = TrialHistory({}, empty(curve.budget_kframes)), trial_s / len(curve.prefixes)
        for point in curve.more["points"]:
            time.sleep(pace)  # the training
            busy += pace
            lease.progressed(point["kframes"])
            history.add(report_of(point))
            _report(trial, history)
            if trial.should_prune():
                known = study._storage.get_trial(trial._trial_id).user_attrs
                trials += 1
                stopped = {name: known[f"pruned_{name}"] for name in ("reason", "severity")}
                return TrialResult("PRUNED", pruned_by=known["pruned_by"], last=history.last, seconds=trial_s, **stopped)
            context.interruption.check()
        trials += 1
        return _ending(history, curve)

    vars(worker)["run_trial"] = replayed
    finished(study)
    gate.wait()
    began = time.monotonic()
    context.interruption.stop_after(seconds)
    work(study, context)
    results.put((place, busy, time.monotonic() - began, trials))


def throughput(url: str, out: Path, count: int, seconds: float, trial_s: float) -> dict[str, float]:
    """Return the share of their time for which `count` workers side by side train."""
    context = get_context("spawn")
    gate, results = context.Barrier(count), context.Queue()
    crew = [context.Process(target=simulate, args=(url, out, place, seconds, trial_s, gate, results)) for place in range(count)]
    for process in crew:
        process.start()
    found = [results.get(timeout=2 * seconds + 600) for _ in crew]  # queue.Empty where one crashed
    for process in crew:
        process.join()
    busy, wall = sum(it[1] for it in found), sum(it[2] for it in found)
    return {"share": busy / wall, "trials": sum(it[3] for it in found), "busy_s": busy, "wall_s": wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1_000, 10_000], help="finished trials in the study")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8, 32], help="simulated workers beside each other")
    parser.add_argument("--seconds", type=float, default=240.0, help="for which they work (default 240)")
    parser.add_argument("--trial-seconds", type=float, default=60.0, help="that a whole trial takes (default 60)")
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results: dict[str, Any] = {"machine": f"{os.cpu_count()} CPUs, {platform.machine()}, optuna {optuna.__version__}"}
    print(results["machine"], flush=True)
    curves = [curve for curve in read(ARCHIVE) if curve.value is not None and len(curve.more["points"]) == 24]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        out.chmod(0o755)  # PostgreSQL refuses root, and then runs as another user
        urls = {"SQLite": f"sqlite:///{out}/studies.db", "PostgreSQL": f"postgres-local:{out}/postgres"}
        for kind, url in urls.items():
            for size in sorted(arguments.sizes):
                row = results[f"{kind}, {size} trials"] = costs(url, out, size, curves)
                parts = "  ".join(f"{label} {amount:.1f}" for label, amount in row.items())
                print(f"{kind:12}{size:7} trials, ms:  {parts}  = {row['a trial'] / 600:.2f} % of a minute", flush=True)
        url = f"postgres-local:{out}/workers"
        storage = open_storage(url)
        optuna.create_study(storage=storage, study_name=NAME, direction="minimize")
        for count in arguments.workers:
            row = results[f"{count} workers"] = throughput(url, out, count, arguments.seconds, arguments.trial_seconds)
            line = f"{row['trials']:.0f} trials, training {row['share']:.1%} of their time"
            print(f"PostgreSQL  {count:3} workers, {arguments.seconds:.0f} s:  {line}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
