"""Record whole learning curves of random configurations: the program of `record` (objective/record.py).

A trial is trained to the end of its budget without a pruner, and depends on the seed and its number k alone. Each finished
curve is stored in its own file, so an interrupted recording continues where it stopped. The archive holds these files in order,
one JSON object per line:

    {"k": 0, "held_out": false, "params": {...}, "seconds": 41.2, "budget_kframes": 400.0,
     "points": [{"kframes": 16.667, "val_loss": 1.2, "free_value": null, ...}, ...],
     "end": {"errors": 0.4, "failures": 0.2, "mcd_db": 11.0, "heard": "we share one kitchen", ...},
     "kept": {"kframes": 383.33, "errors": 0.3, ...}}

A trial is judged at the same points as in a study. `end` describes free-running synthesis at the end of the training, `kept`
that of the best snapshot, which a study would have kept (objective/trial/score.py). A missing value is null. With
`--keep-weights` that snapshot lies next to its curve, a voice that other judges can hear afterwards (benchmarks/voices.py).
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model import checkpoints
from model.files import atomic_write
from model.report import Report
from model.spoken import FreeRunning
from model.trainer import Trainer
from model.voice import card
from model.warmstart import warm_start
from objective.runtime.processes import environment, python_module
from objective.search.worker import TRAINER, seed
from objective.settings.budget import settled
from objective.settings.resolve import absent, resolve
from objective.settings.schema import Settings, SettingsError
from objective.trial.context import TrainingData, judge_of
from objective.trial.corpus import load_data
from objective.trial.judge import due
from objective.trial.score import better, with_figures
from pruners.health_record import measurements
from pruners.thresholds import renamed
from search_spaces.space import load


def record(k: int, settings: Settings, context: tuple[Any, ...]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Train trial k to the end of its budget; return its line of the archive, and its kept snapshot, or None without one."""
    space, data, judge = context
    speech, device, pretrained = data.speech, data.device, data.pretrained
    params = space.sample(random.Random(f"{settings.study.seed} {k}"))
    budget, config = settings.budget, settings.config(params)
    trainer = Trainer(config, speech, budget.total_kframes, budget.reports, device, seed(settings.study.seed, k, TRAINER))
    if pretrained is not None:
        warm_start(trainer.network, speech.symbols, pretrained)
    reports: list[Report] = []
    best, snapshot, judged, targets = None, None, 0, settings.health.targets
    end: FreeRunning | None = None
    kept: FreeRunning | None = None
    for report in trainer.reports():
        mark, end = trainer.cursor.mark, None
        if report.val_loss is not None and due(mark, judged, budget.total_kframes, budget.reports, judge.frames):
            end, judged = judge(trainer.network)[1], mark
            report = with_figures(report, end)
        reports.append(report)
        if better(report, best, settings.objective.score, targets):
            weights = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
            best, kept, snapshot = report, end, {"weights": weights, "kframes": report.kframes}
    line = {
        "k": k,
        "params": params,
        "seconds": trainer.cursor.seconds,
        "budget_kframes": float(budget.total_kframes),
        "points": [_measurements(report) for report in reports],
        "end": end and end.summary(),
        "kept": best and kept and {"kframes": best.kframes} | kept.summary(),
    }
    return line, snapshot and snapshot | card(config, data.corpus, judge.pause_s, trial=k)


def _measurements(report: Report) -> dict[str, Any]:
    more = {"order": report.health.order, "stop_error": report.health.stop_error, "clipped": report.gradients.clipped}
    trained = {f"train_{name}": amount for name, amount in asdict(report.train_health).items()}
    return measurements(report) | asdict(report.validation) | more | trained


def work(settings: Settings, ks: Sequence[int], folder: Path, keep_weights: bool = False) -> None:
    """Record the trials of `ks` that have no file yet, or, with `keep_weights`, none with the weights of a kept snapshot."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    space = load(settings.study.space, settings.config())
    data = TrainingData.of(settings, space)
    settings = settled(settings, data.corpus)
    context = space, data, judge_of(settings, data)
    for k in ks:
        path = file_of(folder, k)
        weights = path.with_suffix(".pt")
        if path.exists() and (not keep_weights or weights.exists() or _line(folder, k)["kept"] is None):
            continue
        line, snapshot = record(k, settings, context)
        if keep_weights and snapshot is not None:
            checkpoints.save(weights, snapshot)  # before the curve, which shows that the trial is recorded
        with atomic_write(path) as part:
            part.write_text(json.dumps(_rounded(line)), encoding="utf-8")
        last = line["points"][-1]
        summary = {name: last[name] for name in ("val_loss", "diagonality", "reading", "gate_accuracy")}
        print(f"trial {k}: {line['seconds']:.0f} s, {json.dumps(_rounded(summary))}", flush=True)


def file_of(folder: Path, k: int) -> Path:
    """Return the path of the curve of trial k."""
    return folder / f"curve-{k:05d}.json"


def _line(folder: Path, k: int) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(file_of(folder, k).read_text(encoding="utf-8"))
    return line


def _rounded(value: Any) -> Any:
    """`value` with all floats rounded to five significant digits, which is enough for curves that are only read."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def run(parsed: argparse.Namespace) -> int:
    """Record all curves with several workers, or one worker's share. Raises BadInput, OSError and KeyboardInterrupt."""
    assignments = ["profile=demo", "device=cpu", "study.space=record", *parsed.set]
    settings = resolve(None, assignments, {"out": parsed.out}, gpu=False, check=absent)
    if parsed.workers < 1 or parsed.trials < 1:
        raise SettingsError([f"need --trials and --workers >= 1, got {parsed.trials} and {parsed.workers}"])
    folder = parsed.archive.with_suffix(".curves")
    folder.mkdir(parents=True, exist_ok=True)
    if parsed.worker is not None:
        work(settings, range(parsed.worker, parsed.trials, parsed.workers), folder, parsed.keep_weights)
        return 0
    first = _held_out_from(folder, settings, parsed)
    load_data(settings)  # once, before all workers do
    line = [*python_module("objective.record"), *parsed.typed]
    workers = [subprocess.Popen([*line, "--worker", str(number)], env=environment()) for number in range(parsed.workers)]
    try:
        codes = [worker.wait() for worker in workers]
    except KeyboardInterrupt:
        for worker in workers:  # a terminal signals them as well, but a signal to this process alone does not reach them
            worker.terminate()
            worker.wait()
        raise
    if any(codes):
        print(f"{sum(map(bool, codes))} of {len(codes)} workers failed: the same command continues", file=sys.stderr)
        return 1
    lines = [_line(folder, k) for k in range(parsed.trials)]
    with atomic_write(parsed.archive) as part:
        marked = (json.dumps({**line, "held_out": line["k"] >= first}) + "\n" for line in lines)
        part.write_text("".join(marked), encoding="utf-8")
    print(f"{parsed.trials} curves in {parsed.archive}")
    return 0


def _held_out_from(folder: Path, settings: Settings, parsed: argparse.Namespace) -> int:
    """The first trial that is held out, as in the first recording of this archive unless the command names another one.

    Raises SettingsError where the archive was recorded with other settings: its curves would not be comparable.
    """
    file = folder / "settings.json"
    current = {name: value for name, value in settings.dump().items() if name not in ("out", "threads", "quiet", "pictures")}
    first = parsed.trials // 2
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        before["settings"]["health"] = renamed(before["settings"]["health"])
        changed = [name for name in current if before["settings"].get(name) != current[name]]
        if changed:
            raise SettingsError([f"{folder} was recorded with other settings ({', '.join(changed)}): choose another --archive"])
        first = before["held_out_from"]
    if parsed.held_out_from is not None:
        first = parsed.held_out_from
    with atomic_write(file) as part:
        part.write_text(json.dumps({"held_out_from": first, "settings": current}), encoding="utf-8")
    return int(first)
