"""Find a voice: a file, the weights of a study's trial, or a version in MLflow's registry."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial

from model.errors import BadInput
from model.trainer import WIDE
from model.voice import Voice
from objective.settings.device import device_of
from objective.speech.registry.store import Reference, Registry
from storage.lookup import existing_study
from storage.outcome import best_of, finished, folder_of, healthy, rank, reason, state
from storage.paths import BEST, STUDY, url_of

FILES = (".pt", ".pth", ".ckpt")  # names that end so are files, not studies


@dataclass(frozen=True, slots=True)
class Found:
    """The file of a voice, and what a person should know of it."""

    path: Path
    note: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # of its study; a file has none


def load(parsed: argparse.Namespace) -> tuple[Voice, str]:
    """Return the voice of a command's arguments (objective/speak.py: add_voice), and a sentence that names it."""
    device, reference, threads = device_of(parsed.device), Reference.parse(parsed.voice), getattr(parsed, "threads", None)
    if reference is None:
        found = find(parsed.voice, parsed.trial, parsed.out, parsed.storage)
        return opened(found, device, threads), found.note
    registry = Registry(parsed.mlflow, parsed.out)
    version = registry.version(reference)
    voice = registry.voice(version, device)
    suit_threads(voice, device, threads)
    return voice, ", the ".join((str(version), *version.aliases))


def opened(found: Found, device: torch.device, threads: int | None = None) -> Voice:
    """Return the voice of a file. Raises BadInput for another file."""
    voice = Voice.load(found.path, device)
    suit_threads(voice, device, threads)
    return voice


def suit_threads(voice: Voice, device: torch.device, threads: int | None = None) -> None:
    """Give a small network one thread: for such products a second one loses much where another process needs the core.

    threads: that the user has asked for.
    """
    if threads is None and device.type == "cpu" and voice.config.network.attention_rnn < WIDE:
        torch.set_num_threads(1)


def find(name: str | None, number: int | None, out: Path, storage: str | None) -> Found:
    """Return the voice `name`, a file or a study. Raises BadInput where there is none, StorageError for an unknown study.

    number: a trial of the study; None: the best one, or the closest to it while none is healthy.
    """
    if name is not None and (path := Path(name)).is_file():
        if number is not None:
            raise BadInput(f"need a study for --trial {number}, got the file {name}: leave --trial out")
        return Found(path, f"voice {path}")
    if name is not None and (Path(name).suffix in FILES or "/" in name):
        found = "is a folder: name the voice.pt or best.pt in it" if Path(name).is_dir() else "does not exist: check the path"
        raise BadInput(f"need the file of a voice, got {Path(name).absolute()}, which {found}")
    study = existing_study(url_of(storage, out), name or STUDY)
    trials = finished(study)
    trial = _chosen(trials, number, study.study_name)
    path = folder_of(trial, out / study.study_name) / BEST
    if not path.exists():
        way = (
            "its weights were deleted (disk.top_k, disk.quota_gb), or lie under another --out" if out.exists() else "give --out"
        )
        raise BadInput(f"need the weights of trial {trial.number}, got {path}, which does not exist: {way}")
    what = "the best" if number is None and healthy(trial) else "healthy" if healthy(trial) else "not healthy"
    why = reason(trial)
    note = f"trial {trial.number} of {study.study_name}, {what}{f': {why}' if why else ''}"
    return Found(path, note, study.user_attrs.get("settings", {}))


def _chosen(trials: list[FrozenTrial], number: int | None, study: str) -> FrozenTrial:
    complete = [trial for trial in trials if state(trial) == "COMPLETE"]
    if number is not None:
        chosen = next((trial for trial in trials if trial.number == number), None)
        if chosen is None:
            known = ", ".join(str(trial.number) for trial in trials) or "none yet"
            raise BadInput(f"need a finished trial of {study}, got {number}: choose one of {known}")
        return chosen
    if not complete:
        raise BadInput(f"need a trial that ran to its end, {study} has none yet: let it train, or name one with --trial")
    return best_of(complete) or min(complete, key=rank)
