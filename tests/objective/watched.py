"""A real study for the tests of its readers: a complete trial, one that was interrupted and resumed, two pruned."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from objective.events.log_writer import append
from storage.paths import ALIGNMENTS, trial_folder
from tests.objective.small_study import command, held

NAME = "watched"
STRICT = {"warmup_share": 0.6, "patience_share": 0, "warn": 1, "critical": 0.99}


def run_watched(out: Path) -> None:
    """Run the study in `out`: trial 0 is complete, 1 interrupted after 6 kframes, 2 resumes it and is pruned, 3 is pruned."""
    with held(out, 1, 6.0, "--study", NAME, "--trials", "2", "--seed", "7") as process:
        process.send_signal(signal.SIGTERM)
        assert "interrupted" in process.communicate()[0]
    levels = [argument for knob, value in STRICT.items() for argument in ("--set", f"health.diagonality.{knob}={value}")]
    for first in ("no_alignment", "reading", "coverage", "gate_accuracy"):
        levels += ["--set", f"health.{first}.warmup_share=0.9"]
    assert command(out, "--study", NAME, "--trials", "3", "--seed", "7", "--pruner", "health", *levels) == 0


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def reports(study: Path, number: int) -> list[dict[str, Any]]:
    return lines(trial_folder(study, number) / "reports.jsonl")


def growing(study: Path, copy: Path) -> Iterator[None]:
    """Copy `study` to `copy` a line at a time, in the order in which the lines were written; yields after each."""
    copy.mkdir(parents=True)
    for event in lines(study / "events.jsonl"):
        if "number" in event:
            source, folder = (trial_folder(place, event["number"]) for place in (study, copy))
            before = reports(study, event["number"]) if event["event"] == "Resumed" else []
            for report in [*(r for r in before if r["kframes"] <= event["kframes"]), *filter(None, [event.get("report")])]:
                append(folder / "reports.jsonl", report)
                yield
            if event["event"] == "TrialStarted" and (source / ALIGNMENTS).exists():  # at once, for all reports
                folder.mkdir(exist_ok=True)
                shutil.copyfile(source / ALIGNMENTS, folder / ALIGNMENTS)
            if event["event"] == "TrialEnded":
                folder.mkdir(exist_ok=True)
                for file in source.iterdir():
                    if file.suffix in (".png", ".wav", ".ogg", ".yaml"):
                        shutil.copyfile(file, folder / file.name)
        append(copy / "events.jsonl", event)
        yield
