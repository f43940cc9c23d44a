"""Run a real study of the demo profile and check what it did: `python -m benchmarks.gpu_study KIND --out FOLDER`.

killed        three short trials: SIGKILL in the second, and the same command again
side-by-side  two short trials at once on one device
no-compiler   one short trial without a C compiler, and without kernels that were compiled before

`--packages` prints what pip installs for it beside torch, Triton and NumPy. `--device cpu` runs studies of tiny networks.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.checks import Check, write
from objective.events.log_reader import Lines
from objective.runtime.processes import environment, python_module
from storage.paths import LAST, sqlite_url, trial_folder

PACKAGES = {  # modules that a study imports, and the packages that have them, as in pyproject.toml
    "optuna": "optuna>=5.0,<6",
    "sqlalchemy": "sqlalchemy>=2",
    "pydantic": "pydantic>=2",
    "yaml": "pyyaml",
    "rich": "rich",
    "librosa": "librosa",
    "soundfile": "soundfile",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "jiwer": "jiwer>=4,<5",
    "grpc": "grpcio>=1.74",
    "google.protobuf": "protobuf>=5.28.1",
    "espeakng_loader": "espeakng-loader",
}
SHORT = ("--profile", "demo", "--pruner", "none", "--budget-kframes", "400")
SIZES = {"embedding": 16, "encoder": 16, "prenet": 8, "attention_rnn": 24, "decoder_rnn": 24, "attention": 8, "postnet": 12}
TINY_SETTINGS = {
    "budget.reports": 4,
    "data.demo_utterances": 24,
    "data.validation_utterances": 6,
    "listener.kframes": 0,
    "objective.score": "loss",
    **{f"network.{name}": size for name, size in SIZES.items()},
}
TINY = [*SHORT[:-1], "12", *(word for name, value in TINY_SETTINGS.items() for word in ("--set", f"{name}={value}"))]
LOOK_S = 0.05


def missing() -> list[str]:
    """Return the packages that a study needs and this Python lacks."""
    return [package for module, package in PACKAGES.items() if find_spec(module.partition(".")[0]) is None]


class Study:
    """A study that is new, and the command that runs it. Corpus and listener are those of other studies in the folder."""

    def __init__(self, out: Path, name: str, device: str, *more: str) -> None:
        self.folder, database = out / name, out / f"{name}.db"
        shutil.rmtree(self.folder, ignore_errors=True)
        for file in out.glob(f"{database.name}*"):  # SQLite's journals, too
            file.unlink()
        flags = ("--study", name, "--out", str(out), "--storage", sqlite_url(database), "--device", device)
        short = TINY if device == "cpu" else SHORT
        self.command = [*python_module("objective.study"), *flags, *short, *more]

    def start(self, **changes: str) -> "subprocess.Popen[bytes]":
        """Start the command on the first GPU, with changes of the environment."""
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        return subprocess.Popen(self.command, env=environment(CUDA_VISIBLE_DEVICES=first, **changes))

    def run(self, **changes: str) -> None:
        """Run the command to its end. Raises AssertionError for another exit code than 0."""
        code = self.start(**changes).wait()
        assert code == 0, f"the study ended with exit code {code}"

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in Lines(self.folder / "events.jsonl").new() if event["event"] == kind]

    def finished(self, wanted: int) -> Check:
        count = self.events("StudyEnded")[-1]["finished"]
        return Check(f"{wanted} trials finish", count == wanted, count)

    def figures(self) -> list[str]:
        """Return a sentence on each trial that finished: its state, its value, its speed."""
        return [_described(event) for event in self.events("TrialEnded") if event["state"] != "FAIL"]


def _described(end: dict[str, Any]) -> str:
    value = "" if end["value"] is None else f" {end['value']:.3g}"
    last = end["last"] or {"kframes": 0.0, "seconds": 0.0}
    speed = f", {1e3 * last['kframes'] / last['seconds']:,.0f} frames/s" if last["seconds"] else ""
    return f"trial {end['number']}: {end['state'].lower()}{value}, {end['seconds']:.0f} s{speed}"


def killed(out: Path, device: str) -> tuple[list[Check], list[str]]:
    study = Study(out, "killed", device, "--trials", "3")
    process = study.start()
    while not (trial_folder(study.folder, 1) / LAST).exists():
        assert process.poll() is None, f"the study ended with exit code {process.returncode} before its second trial"
        time.sleep(LOOK_S)
    process.kill()
    process.wait()
    before = {event["number"] for event in study.events("TrialEnded")}
    study.run()
    resumed = {event["of"]: event["kframes"] for event in study.events("Resumed")}
    checks = [
        Check("the second trial is killed while it runs", 1 not in before),
        study.finished(3),
        Check("the killed trial resumes, at kframes", resumed.get(1, 0) > 0, resumed.get(1)),
    ]
    return checks, study.figures()


def side_by_side(out: Path, device: str) -> tuple[list[Check], list[str]]:
    study = Study(out, "side-by-side", device, "--trials", "2", "--trials-per-gpu", "2")
    study.run()
    return [study.finished(2)], study.figures()


def no_compiler(out: Path, device: str) -> tuple[list[Check], list[str]]:
    study = Study(out, "no-compiler", device, "--trials", "1")
    os.environ.pop("CC", None)  # names a compiler
    with TemporaryDirectory() as empty, TemporaryDirectory() as cache:
        study.run(PATH=empty, TRITON_CACHE_DIR=cache)
        kernels = list(Path(cache).rglob("*.cubin"))
    notes = [note for event in study.events("StudyStarted") for note in event["notes"]]
    told = [note for note in notes if "without kernels" in note and "C compiler" in note]
    checks = [
        Check("the start of the study names the missing compiler", bool(told), note="; ".join(told)),
        Check("no kernel is compiled", not kernels, len(kernels)),
        study.finished(1),
    ]
    return checks, study.figures()


KINDS: dict[str, Callable[[Path, str], tuple[list[Check], list[str]]]] = {
    "killed": killed,
    "side-by-side": side_by_side,
    "no-compiler": no_compiler,
}


class Packages(argparse.Action):
    """Print the packages, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(*PACKAGES.values(), sep="\n")
        parser.exit()


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--out", type=Path, required=True, help="folder of the studies")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was checked and measured")
    parser.add_argument("--packages", action=Packages, nargs=0, help="print what pip installs for it")
    arguments = parser.parse_args(typed)
    if lacking := missing():
        print(f"need {', '.join(lacking)}: pip install them", file=sys.stderr)
        return 2
    checks, figures = KINDS[arguments.kind](arguments.out, arguments.device)
    print(*checks, *figures, sep="\n")
    if arguments.json is not None:
        write(arguments.json, checks, figures=figures)
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
