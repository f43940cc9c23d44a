"""Run the stages of a long measurement, each in processes of its own with a time limit, so that the same command continues it.

A stage shows what its commands print and keeps it in FOLDER/STAGE.txt. When it has ended, FOLDER/STAGE.json holds its exit
code, its time, the machine, and what its commands wrote into the file that `--json` names. A stage that has ended well is not
repeated; one that fails stops no other.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from model.files import atomic_write
from objective.runtime.processes import environment

LATE = 124  # the exit code of a command that reached its time limit, as timeout(1) has it


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a measurement."""

    name: str
    limit_s: float
    commands: Sequence[Sequence[str]]  # one after another; each gets `--json FILE` as well
    obstacle: str | None = None  # why it cannot be run on this machine: recorded instead
    environment: Mapping[str, str] = field(default_factory=dict)


def run_all(stages: Iterable[Stage], folder: Path, about: Mapping[str, Any], again: bool = False) -> int:
    """Run every stage that has not ended well on such a device before, or all `again`. Return 1 if one fails, else 0."""
    folder.mkdir(parents=True, exist_ok=True)
    code = 0
    for stage in stages:
        if not again and ended_well(read(folder, stage.name), about["device"]):
            print(f"== {stage.name}: done before", flush=True)
            continue
        record = run(stage, folder, about)
        how = f"cannot be run, {record['obstacle']}" if record["obstacle"] else f"exit code {record['rc']}"
        print(f"== {stage.name}: {how}, {record['seconds']:.0f} s", flush=True)
        code = code or int(record["rc"] != 0)
    return code


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the record of a stage, or None where it has not ended."""
    with suppress(FileNotFoundError):
        record: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return record
    return None


def ended_well(record: Mapping[str, Any] | None, device: str) -> bool:
    """Return whether a stage was run on such a device, with exit code 0."""
    return record is not None and record["rc"] == 0 and record["obstacle"] is None and record["device"] == device


def run(stage: Stage, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Run a stage and write its record, which this returns. The first command that fails is its last."""
    (folder / f"{stage.name}.json").unlink(missing_ok=True)  # a stage that is killed has no record
    print(f"== {stage.name}", flush=True)
    began, code, results = time.monotonic(), 0, []
    with (folder / f"{stage.name}.txt").open("w", encoding="utf-8") as log, TemporaryDirectory() as temporary:
        for command in () if stage.obstacle else stage.commands:
            result = Path(temporary) / "result.json"
            left = stage.limit_s - (time.monotonic() - began)
            code = follow([*command, "--json", str(result)], stage.environment, left, log)
            if result.exists():
                results.append(json.loads(result.read_text(encoding="utf-8")))
                result.unlink()
            if code != 0:
                break
    record = {"stage": stage.name, "rc": code, "obstacle": stage.obstacle, "seconds": time.monotonic() - began}
    record |= {"date": time.strftime("%Y-%m-%d %H:%M"), **about, "results": results}
    with atomic_write(folder / f"{stage.name}.json") as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def follow(command: Sequence[str], changes: Mapping[str, str], limit_s: float, log: TextIO) -> int:
    """Run a command, show its output and keep it in `log`. Return its exit code, LATE where it was ended after `limit_s`.

    changes: of its environment. It has a process group of its own, which is ended with this process, unless SIGKILL ends that.
    """
    late = threading.Event()

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def end_late() -> None:
        late.set()
        end()

    timer = threading.Timer(max(0.0, limit_s), end_late)
    with subprocess.Popen(
        command, env=environment(**changes, PYTHONUNBUFFERED="1"), text=True, errors="replace", process_group=0,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        timer.start()
        try:
            for line in process.stdout:
                for output in (log, None):
                    print(line, end="", file=output, flush=True)
        except BaseException:  # re-raised: the group of the command must not outlive this process
            end()
            raise
        finally:
            timer.cancel()
    return LATE if late.is_set() else process.returncode if process.returncode >= 0 else 128 - process.returncode
