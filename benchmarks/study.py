"""Measure the cost of a trial: `python -m benchmarks.study [--kframes 100] [--json OUT]`.

Prints, for the demo profile on this machine: training speed in valid mel frames per second (r = 3 and r = 1, one thread and
all), the cost of a validation, and the overhead of the study in a trial: ask and suggest, each report (record, report, prune,
checkpoint), and the end (speech, pictures, tell).
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import torch

from model.trainer import Speech, Trainer
from objective.settings.resolve import resolve
from objective.settings.schema import Settings
from objective.trial.corpus import load_data, speech_of


def speed(settings: Settings, speech: Speech, kframes: float) -> dict[str, float]:
    """Measure updates after a warm-up of five, then one validation."""
    trainer = Trainer(settings.config(), speech, kframes, 1_000_000, torch.device("cpu"), seed=0)
    for _ in range(5):
        trainer._update()
    frames, began = trainer.cursor.frames, time.perf_counter()
    while trainer.cursor.frames - frames < kframes * 1_000:
        trainer._update()
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    trainer.validate()
    return {"frames_per_s": (trainer.cursor.frames - frames) / seconds, "validation_ms": 1e3 * (time.perf_counter() - began)}


@contextmanager
def timed(owner: Any, name: str, times: list[float]) -> Iterator[None]:
    """Append the seconds of every call of `owner.name` to `times`."""
    original: Callable[..., Any] = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            times.append(time.perf_counter() - began)

    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        setattr(owner, name, original)


def overhead(out: Path, kframes: int) -> dict[str, float]:
    """Run one real trial with the command, and measure the study's own calls."""
    from model import checkpoints
    from objective import study as command
    from objective.search import worker
    from objective.trial import run as trial

    spent: dict[str, list[float]] = {}
    calls = {
        "ask_ms": (optuna.Study, "ask"),
        "report_ms": (optuna.Trial, "report"),
        "record_ms": (optuna.Trial, "set_user_attr"),
        "prune_ms": (optuna.Trial, "should_prune"),
        "checkpoint_ms": (checkpoints, "save"),
        "speech_and_pictures_ms": (trial, "_finish"),
        "tell_ms": (worker, "tell"),
        "trial_ms": (worker, "run_one"),
    }
    flags = {"--trials": "1", "--out": str(out), "--budget-kframes": str(kframes), "--device": "cpu", "--pruner": "none"}
    with ExitStack() as stack:
        for label, (owner, name) in calls.items():
            stack.enter_context(timed(owner, name, spent.setdefault(label, [])))
        code = command.main([*(argument for flag in flags.items() for argument in flag), "--quiet"])
    if code:
        raise SystemExit(f"the study ended with exit code {code}: run the command by hand to see why")
    medians = {label: 1e3 * median(times) for label, times in spent.items() if times}
    reports = (out / "tacotron2" / "trial-00000" / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    medians["study_share"] = 1 - json.loads(reports[-1])["seconds"] / sum(spent["trial_ms"])
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kframes", type=int, default=100, help="mel frames, in thousands, for each measurement (default 100)")
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"machine": f"{os.cpu_count()} CPUs, {platform.machine()}, torch {torch.__version__}"}
    print(results["machine"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        base = resolve(None, [], {"out": out, "profile": "demo", "quiet": True}, gpu=False)
        speech = speech_of(load_data(base))
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            for r in (3, 1):
                settings = resolve(None, [f"network.reduction={r}"], {"out": out, "profile": "demo"}, gpu=False)
                row = results[f"r={r}, {threads} threads"] = speed(settings, speech, arguments.kframes)
                rates = f"{row['frames_per_s']:8.0f} frames/s  validation {row['validation_ms']:.0f} ms"
                print(f"r = {r}, {threads} threads  {rates}")
        results["study"] = overhead(out, arguments.kframes)
        for label, value in results["study"].items():
            print(f"{label.removesuffix('_ms'):24}{value:10.4f}" + (" ms" if label.endswith("_ms") else " of the trial"))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
