"""Measure the cost of watching a study: `python -m benchmarks.watching [--kframes 200] [--pairs 3] [--json OUT]`.

A study of six trials, alternately without any view and with all of them: the dashboard, MLflow with its own server,
TensorBoard, Telegram with a Bot API server, all on this machine. When half of the trials have ended, all their destinations are
taken away. Compared pair by pair: the seconds of the trials, and those of the whole command with its start and end.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch

from storage.lookup import existing_study
from storage.paths import url_of
from tests.objective.watchers import Watchers

TRIALS = 6


def timed(out: Path, name: str, kframes: int, watchers: Watchers | None) -> tuple[dict[str, float], list[Any]]:
    """Runs a study: its seconds, and the values of its trials."""
    line = [sys.executable, "-m", "objective.study", "--out", str(out), "--study", name, "--trials", str(TRIALS)]
    line += ["--profile", "demo", "--device", "cpu", "--pruner", "none", "--budget-kframes", str(kframes)]
    began, environment = time.perf_counter(), None
    if watchers is not None:
        line, environment = [*line, *watchers.flags], watchers.environment
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if watchers is not None and f"starts, {TRIALS // 2} of" in said:
                if not watchers.at_work():
                    raise SystemExit("the views were not all at work yet: give more --kframes")
                watchers.take_away()
    if process.returncode:
        raise SystemExit(f"the study ended with exit code {process.returncode}: run the command by hand to see why")
    seconds = {"command": time.perf_counter() - began}
    lines = map(json.loads, (out / name / "events.jsonl").read_text(encoding="utf-8").splitlines())
    seconds["trials"] = sum(line["seconds"] for line in lines if line["event"] == "TrialEnded")
    return seconds, [trial.value for trial in existing_study(url_of(None, out), name).trials]


def pair(corpus: Path, kframes: int, place: int) -> dict[str, float]:
    """Both kinds, in turn the one and the other first: how much longer it takes with everything on, each as a ratio."""
    found = {}
    for kind in ("off", "on") if place % 2 == 0 else ("on", "off"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            shutil.copytree(corpus, out, dirs_exist_ok=True)
            with Watchers(out, kind) if kind == "on" else nullcontext() as watchers:
                found[kind] = timed(out, kind, kframes, watchers)
    (off, values), (on, same) = found["off"], found["on"]
    if values != same:
        raise SystemExit(f"the values are others with everything on: {same} instead of {values}")
    print(", ".join(f"{what}: off {off[what]:.1f} s, on {on[what]:.1f} s" for what in off), flush=True)
    return {what: on[what] / off[what] for what in off}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kframes", type=int, default=200, help="mel frames, in thousands, of a trial (default 200)")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    arguments = parser.parse_args()
    print(machine := f"{os.cpu_count()} CPUs, {platform.machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        timed(Path(folder), "corpus", 24, None)  # speech and mels, once for all
        for study in Path(folder).glob("tacotune.db*"):
            study.unlink()
        ratios = [pair(Path(folder), arguments.kframes, place) for place in range(arguments.pairs)]
    for what in ratios[0]:
        each = sorted(100 * (ratio[what] - 1) for ratio in ratios)
        print(f"{what:8} with everything on {median(each):+.1f} % ({each[0]:+.1f} to {each[-1]:+.1f})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "ratios": ratios}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
