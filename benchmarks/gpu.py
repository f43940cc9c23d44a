"""Check and measure everything that needs a GPU, in stages: `python -m benchmarks.gpu --out FOLDER`.

The same command continues with the stages that have not ended well. A stage takes at most eight minutes; what it prints is
kept in FOLDER/STAGE.txt, what it found in FOLDER/STAGE.json, and a Markdown table of all comes last. The exit code is 1 where
a stage fails. `--device cpu` runs small variants of the stages that a CPU can run.

Needs torch and NumPy; what else is missing is recorded in the stages that need it, and benchmarks/gpu.sh installs it.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_study import missing
from benchmarks.gpu_table import table
from benchmarks.stages import Stage, read, run_all
from objective.runtime.processes import environment, python_module

LIMIT_S = 480  # of any stage
NAMES = (
    "machine", "kernels", "sanitizer", "speed-64", "speed-32-16", "speed-256", "deferred", "memory", "study", "two-trials",
    "no-compiler",
)  # fmt: skip
CHECKED = ("recurrence", "recorded", "resumed", "synthesis")
SPEED_ON_CPU = ("--profile", "demo", "--updates", "1", "--repeats", "1", "--threads", "1")
LARGE_GB = 60  # memory of a GPU that trains batches of 256 long utterances: 24 GB, twice where graphs are recorded


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--peer", action="append", default=[], metavar="nvidia=DIR", help="a trainer to compare speed with")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="STAGE", help=f"one of {', '.join(NAMES)}; repeatable"
    )
    parser.add_argument("--again", action="store_true", help="repeat stages that have ended well, too")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table of what was found")
    arguments = parser.parse_args(typed)
    code = 0
    if not arguments.table:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # ends the stage that runs, too
        described = subprocess.run(
            [*python_module("benchmarks.machine"), "--device", arguments.device],
            env=environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if described.returncode != 0:
            return described.returncode
        about = json.loads(described.stdout)
        chosen = [stage for stage in stages(arguments, about) if stage.name in (arguments.only or NAMES)]
        code = run_all(chosen, arguments.out, about, arguments.again)
    print(table([record for name in NAMES if (record := read(arguments.out, name)) is not None]))
    return code


def stages(arguments: argparse.Namespace, about: Mapping[str, Any]) -> list[Stage]:
    """Return all stages, in their order. about: the machine, as benchmarks.machine describes it."""
    device, gpu = arguments.device, arguments.device == "cuda"
    no_gpu, lacking = None if gpu else "needs a GPU", missing()
    no_study = f"needs {', '.join(lacking)}" if lacking else None
    sanitizer = shutil.which("compute-sanitizer")
    small = f"needs {LARGE_GB} GB of GPU memory" if about.get("memory_gb", LARGE_GB) < LARGE_GB else None

    def module(name: str, *more: str) -> list[str]:
        return [*python_module(f"benchmarks.{name}"), *more]

    def speed(name: str, batch: str, on_cpu: str, *more: str, obstacle: str | None = None) -> Stage:
        how = ("--batch", batch, "--updates", "6") if gpu else ("--batch", on_cpu, *SPEED_ON_CPU)
        return Stage(name, LIMIT_S, [module("train_step", "--device", device, *how, *more)], obstacle)

    def study(name: str, kind: str, obstacle: str | None = None) -> Stage:
        command = module("gpu_study", kind, "--out", str(arguments.out.absolute() / "studies"), "--device", device)
        return Stage(name, LIMIT_S, [command], obstacle or no_study)

    tiny = module("check_gpu", "--checks", "recurrence", "--tiny")
    sanitized = [[str(sanitizer), "--tool", tool, "--error-exitcode", "9", *tiny] for tool in ("memcheck", "racecheck")]
    without_cache = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # else PyTorch's pools hide accesses past the end of a tensor
    peers = [word for peer in arguments.peer for word in ("--peer", peer)]
    return [
        Stage("machine", 120, [module("limits")], no_gpu),
        Stage("kernels", LIMIT_S, [module("check_gpu", "--device", device, "--checks", *CHECKED)]),
        Stage("sanitizer", LIMIT_S, sanitized, no_gpu or (None if sanitizer else "not installed"), without_cache),
        speed("speed-64", "64", "2"),
        speed("speed-32-16", "32,16", "2,1"),
        speed("speed-256", "256", "4", obstacle=small),
        speed("deferred", "64", "2", "--recurrence", "deferred", *peers),
        Stage(
            "memory",
            LIMIT_S,
            [module("check_gpu", "--checks", "memory", *gb) for gb in ((), ("--gb", "24", "12", "8"))],
            no_gpu,
        ),
        study("study", "killed"),
        study("two-trials", "side-by-side"),
        study("no-compiler", "no-compiler", no_gpu or (None if about["kernels"] else "the kernels are not used here")),
    ]


if __name__ == "__main__":
    sys.exit(main())
