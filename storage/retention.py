"""Which snapshots of a study make room, and which never do: rules over its trials and the files in their folders.

Of a trial that runs or waits, nothing is touched. A point that comes again goes on from the newest good snapshot of its
lineage, so the folders with the two newest ones stay until it has ended. A complete trial keeps its best weights, another none.

No lock is needed, though workers tidy at once while trials begin, report and end: what lets a file go never becomes untrue
again. An end is final, a newer snapshot of a lineage stays, and a trial that waits counts like one that has just begun to read.
"""

import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from storage.lineage import ancestors, comes_again
from storage.paths import BEFORE, BEST, LAST, trial_folder

LINGER_S = 600.0  # a worker whose trial somebody else has ended, with the dashboard's button, may not know it yet
_FOLDER = re.compile(r"trial-(\d{5,})")
_PART = re.compile(r"\..+\.part")  # unfinished files of model.files.atomic_write


@dataclass(frozen=True, slots=True)
class Keep:
    """Whose weights are kept. ValueError for numbers that make no sense."""

    top_k: int | None = None  # of the weights of trials that have ended, so many best ones; None: all
    quota_bytes: int | None = None  # of all snapshots of the study together; None: no limit
    pruned: bool = False  # the weights of pruned trials, too, and of those that a person ended
    linger_s: float = LINGER_S  # for so long after the last write nothing is taken from a trial that was ended from outside

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"need top_k >= 1, got {self.top_k}: the best trial keeps its weights, leave it out to keep all")

    @classmethod
    def of(cls, top_k: int | None, quota_gb: float | None, pruned: bool) -> "Keep":
        """The same from settings, with the quota in GB (1e9 bytes)."""
        if quota_gb is not None and not (math.isfinite(quota_gb) and quota_gb > 0):
            raise ValueError(f"need a quota in GB above 0, got {quota_gb:g}: leave it out for no limit")
        return cls(top_k, None if quota_gb is None else round(quota_gb * 1e9), pruned)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the trial `number` that retention looks after, and why it goes or stays."""

    number: int
    path: Path
    bytes: int
    written: float  # seconds since the epoch
    why: str = ""

    def because(self, why: str) -> "File":
        return replace(self, why=why)


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, what stays, and a sentence where that was not all that was wished for."""

    removals: tuple[File, ...]
    kept: tuple[File, ...]
    note: str | None = None


def removable(trials: Sequence[FrozenTrial], folder: Path, keep: Keep | None = None, now: float | None = None) -> Plan:
    """What may go from `folder`, where the files of a study lie. `trials` are all of its trials, by number; nothing is deleted.

    Looks at last.pt, before.pt, best.pt and unfinished writes in the folders of these trials, at nothing else, and follows no
    link. `now` in seconds since the epoch.
    """
    keep = keep or Keep()
    before = (time.time() if now is None else now) - keep.linger_s
    found = _found(folder, len(trials))
    successors = {trial.user_attrs["again_of"]: trial.number for trial in trials if "again_of" in trial.user_attrs}
    needed = _needed(trials, found, successors)
    removals: list[File] = []
    kept: list[File] = []
    weights: list[File] = []
    for number, files in found.items():
        trial = trials[number]
        in_use = _in_use(trial, files, before)
        for file in files:
            if in_use:
                kept.append(file.because(in_use))
            elif _PART.fullmatch(file.path.name):
                (removals if file.written < before else kept).append(file.because("an unfinished write"))
            elif number in needed:
                kept.append(file.because(f"trial {needed[number]} may go on from it"))
            elif file.path.name == BEST and _keeps_weights(trial, successors, keep):
                weights.append(file)
            else:
                removals.append(file.because(_ended(trial, successors)))
    weights.sort(key=lambda file: _rank(trials[file.number]))
    outside, note = _trimmed(weights, sum(file.bytes for file in kept), keep)
    removals += outside
    kept += [file.because("best weights") for file in weights]
    order = {name: place for place, name in enumerate((LAST, BEFORE, BEST))}
    removals.sort(key=lambda file: (file.number, order.get(file.path.name, len(order)), file.path.name))
    return Plan(tuple(removals), tuple(kept), note)


def tidy(trials: Sequence[FrozenTrial], folder: Path, keep: Keep | None = None) -> Plan:
    """Delete what is removable; returns what this call has deleted. A file that another worker took first is none of them."""
    plan = removable(trials, folder, keep)
    gone, notes = [], [plan.note] if plan.note else []
    for file in plan.removals:
        try:
            file.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as why:  # a file that stays harms no trial
            notes.append(f"cannot delete {file.path}: {(why.strerror or str(why)).lower()}")
        else:
            gone.append(file)
    return Plan(tuple(gone), plan.kept, "; ".join(notes) or None)


def _found(folder: Path, count: int) -> dict[int, list[File]]:
    """By number, the files in the folders of the first `count` trials."""
    found: dict[int, list[File]] = {}
    for entry in _listed(folder):
        match = _FOLDER.fullmatch(entry.name)
        number = int(match[1]) if match else count
        if number < count and entry.name == trial_folder(folder, number).name and entry.is_dir(follow_symlinks=False):
            for inside in _listed(Path(entry.path)):
                if inside.name in (LAST, BEFORE, BEST) or _PART.fullmatch(inside.name):
                    with suppress(OSError):  # it is gone again
                        if inside.is_file(follow_symlinks=False):
                            status = inside.stat(follow_symlinks=False)
                            file = File(number, Path(inside.path), status.st_size, status.st_mtime)
                            found.setdefault(number, []).append(file)
    return found


def _listed(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError, PermissionError), os.scandir(folder) as entries:
        yield from entries


def _needed(
    trials: Sequence[FrozenTrial], found: Mapping[int, Sequence[File]], successors: Mapping[int, int]
) -> dict[int, int]:
    """By number, the trials whose snapshots another one may go on from, with the number of that one.

    Two snapshots, the second in case that the first is damaged. A folder may hold those of an earlier study of this name until
    its trial has begun in earnest, which its health record shows.
    """
    needed: dict[int, int] = {}
    for tip in trials:
        if not _goes_on(tip, successors):
            continue
        snapshots = 0
        for trial in (tip, *ancestors(trials, tip)):
            if snapshots >= 2:
                break
            needed[trial.number] = tip.number
            if "health" in trial.user_attrs:
                snapshots += sum(file.path.name in (LAST, BEFORE) for file in found.get(trial.number, ()))
    return needed


def _goes_on(trial: FrozenTrial, successors: Mapping[int, int]) -> bool:
    """Whether it runs, waits, or was released and its point is still to come again."""
    if trial.state != TrialState.FAIL:
        return not trial.state.is_finished()
    return comes_again(trial) and trial.number not in successors


def _in_use(trial: FrozenTrial, files: Sequence[File], before: float) -> str | None:
    """Why nothing in the trial's folder may be touched, if so."""
    if trial.state == TrialState.RUNNING:
        return "its trial runs"
    if "seconds" not in trial.user_attrs and any(file.written >= before for file in files):  # its worker has not told its end
        return "its worker may not know yet that the trial was ended"
    return None


def _keeps_weights(trial: FrozenTrial, successors: Mapping[int, int], keep: Keep) -> bool:
    return _complete(trial) or (keep.pruned and trial.number not in successors)


def _complete(trial: FrozenTrial) -> bool:
    """GPSampler has to be told COMPLETE of pruned trials, too."""
    return trial.state == TrialState.COMPLETE and "pruned_by" not in trial.user_attrs


def _rank(trial: FrozenTrial) -> tuple[bool, float, float, int]:
    """As the closing table: the healthy by value, the sick by what they miss, those that did not complete at the end."""
    missed = sum(max(0.0, amount) for amount in trial.constraints.values())
    return not _complete(trial), missed, math.inf if trial.value is None else trial.value, trial.number


def _ended(trial: FrozenTrial, successors: Mapping[int, int]) -> str:
    """Why the snapshots of a trial that ended are of no more use."""
    if _complete(trial):
        return "complete: its best weights are enough"
    if trial.number in successors:
        return f"trial {successors[trial.number]} took over"
    if trial.state != TrialState.FAIL:
        return "pruned"
    return "given up" if "given_up" in trial.user_attrs else "ended from outside"


def _trimmed(weights: list[File], others: int, keep: Keep) -> tuple[list[File], str | None]:
    """Take the worst from the end of `weights`, never the first, until they fit; `others` are the bytes that stay anyway."""
    outside = []
    if keep.top_k is not None:
        outside += [file.because(f"not among the {keep.top_k} best") for file in weights[keep.top_k :]]
        del weights[keep.top_k :]
    total, quota = others + sum(file.bytes for file in weights), keep.quota_bytes
    if quota is None:
        return outside, None
    while total > quota and len(weights) > 1:
        worst = weights.pop()
        outside.append(worst.because(f"over the quota of {size(quota)}"))
        total -= worst.bytes
    if total <= quota:
        return outside, None
    why = "the best trial's and what trials run or go on from"
    return outside, f"the snapshots that must stay take {size(total)}, over the quota of {size(quota)} ({why}): raise the quota"


def size(count: int) -> str:
    """Bytes as a person reads them: "1.2 GB"."""
    amount, units = float(count), ["B", "kB", "MB", "GB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1_000, units[1:]
    return f"{amount:.3g} {units[0]}"
