"""Decide which snapshots of a study may be deleted, from its trials and the files in their folders.

Nothing of a running or waiting trial is touched. A retried configuration resumes from the newest good snapshot of its lineage,
so the folders with the two newest snapshots are kept until it has ended. A complete trial keeps its best weights, any other
trial nothing.

Workers tidy concurrently while trials start, report and end, yet no lock is needed, because a reason to delete a file never
ceases to hold: an end is final, a newer snapshot of a lineage stays, and a waiting trial counts as one that already reads.
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

from storage.lineage import ancestors, is_retried
from storage.outcome import rank, state
from storage.paths import BEFORE, BEST, LAST, NEXT, trial_folder

LINGER_S = 600.0  # for which a worker may not know yet that its trial was ended from outside, as by the dashboard's button
_FOLDER = re.compile(r"trial-(\d{5,})")
_PART = re.compile(r"\..+\.part")  # an unfinished write of model.files


@dataclass(frozen=True, slots=True)
class Keep:
    """The trials whose weights are kept. Raises ValueError for impossible numbers.

    top_k: how many of the best ended trials keep their weights; None: all.
    quota_bytes: limit for all snapshots of the study together; None: no limit.
    pruned: keep the weights of pruned trials too, and of those that a person ended.
    linger_s: seconds after the last write during which a trial that was ended from outside keeps its files.
    """

    top_k: int | None = None
    quota_bytes: int | None = None
    pruned: bool = False
    linger_s: float = LINGER_S

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"need top_k >= 1, got {self.top_k}: the best trial keeps its weights, leave it out to keep all")

    @classmethod
    def of(cls, top_k: int | None, quota_gb: float | None, pruned: bool) -> "Keep":
        """Build it from settings, with the quota in GB (1e9 bytes)."""
        if quota_gb is not None and not (math.isfinite(quota_gb) and quota_gb > 0):
            raise ValueError(f"need a quota in GB above 0, got {quota_gb:g}: leave it out for no limit")
        return cls(top_k, None if quota_gb is None else round(quota_gb * 1e9), pruned)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the trial `number` that retention decides on, and the reason why it is deleted or kept."""

    number: int
    path: Path
    bytes: int
    written: float  # seconds since the epoch
    why: str = ""

    def with_reason(self, why: str) -> "File":
        return replace(self, why=why)


@dataclass(frozen=True, slots=True)
class Plan:
    """The files to delete, the files to keep, and a note where a limit cannot be met or a file cannot be deleted."""

    removals: tuple[File, ...]
    kept: tuple[File, ...]
    note: str | None = None


def removable(trials: Sequence[FrozenTrial], folder: Path, keep: Keep | None = None, now: float | None = None) -> Plan:
    """Plan what may be deleted from `folder`, the folder of a study. Deletes nothing.

    trials: all trials of the study, by number. now: seconds since the epoch. Considers last.pt, before.pt, next.pt, best.pt
    and unfinished writes in the folders of these trials, nothing else, and follows no link.
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
                kept.append(file.with_reason(in_use))
            elif _PART.fullmatch(file.path.name):
                (removals if file.written < before else kept).append(file.with_reason("an unfinished write"))
            elif number in needed:
                kept.append(file.with_reason(f"trial {needed[number]} may resume from it"))
            elif file.path.name == BEST and _keeps_weights(trial, successors, keep):
                weights.append(file)
            else:
                removals.append(file.with_reason(_why_useless(trial, successors)))
    weights.sort(key=lambda file: (rank(trials[file.number]), file.number))
    surplus, note = _trim(weights, sum(file.bytes for file in kept), keep)
    removals += surplus
    kept += [file.with_reason("best weights") for file in weights]
    order = {name: place for place, name in enumerate((LAST, BEFORE, NEXT, BEST))}
    removals.sort(key=lambda file: (file.number, order.get(file.path.name, len(order)), file.path.name))
    return Plan(tuple(removals), tuple(kept), note)


def tidy(trials: Sequence[FrozenTrial], folder: Path, keep: Keep | None = None) -> Plan:
    """Delete what is removable; return what this call has deleted, without the files that another worker deleted first."""
    plan = removable(trials, folder, keep)
    deleted, notes = [], [plan.note] if plan.note else []
    for file in plan.removals:
        try:
            file.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as why:  # a file that remains harms no trial
            notes.append(f"cannot delete {file.path}: {(why.strerror or str(why)).lower()}")
        else:
            deleted.append(file)
    return Plan(tuple(deleted), plan.kept, "; ".join(notes) or None)


def _found(folder: Path, count: int) -> dict[int, list[File]]:
    """The files in the folders of the first `count` trials, by number."""
    found: dict[int, list[File]] = {}
    for entry in _listed(folder):
        match = _FOLDER.fullmatch(entry.name)
        number = int(match[1]) if match else count
        if number < count and entry.name == trial_folder(folder, number).name and entry.is_dir(follow_symlinks=False):
            for inside in _listed(Path(entry.path)):
                if inside.name in (LAST, BEFORE, NEXT, BEST) or _PART.fullmatch(inside.name):
                    with suppress(OSError):  # deleted in between
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
    """Map the trials whose snapshots must be kept to the trial that may resume from them.

    Two snapshots are kept, the second in case the first is damaged. Until a trial has trained, which its health record shows,
    its folder may hold snapshots of an earlier study with this name.
    """
    needed: dict[int, int] = {}
    for tip in trials:
        if not _continues(tip, successors):
            continue
        snapshots = 0
        for trial in (tip, *ancestors(trials, tip)):
            if snapshots >= 2:
                break
            needed[trial.number] = tip.number
            if "health" in trial.user_attrs:
                snapshots += sum(file.path.name in (LAST, BEFORE) for file in found.get(trial.number, ()))
    return needed


def _continues(trial: FrozenTrial, successors: Mapping[int, int]) -> bool:
    """Return whether a trial runs, waits, or was released and is still to be retried."""
    if trial.state != TrialState.FAIL:
        return not trial.state.is_finished()
    return is_retried(trial) and trial.number not in successors


def _in_use(trial: FrozenTrial, files: Sequence[File], before: float) -> str | None:
    """The reason why nothing in the trial's folder may be touched, or None."""
    if trial.state == TrialState.RUNNING:
        return "its trial is running"
    if "seconds" not in trial.user_attrs and any(
        file.written >= before for file in files
    ):  # its worker has not reported its end
        return "its worker may not know yet that the trial was ended"
    return None


def _keeps_weights(trial: FrozenTrial, successors: Mapping[int, int], keep: Keep) -> bool:
    return state(trial) == "COMPLETE" or (keep.pruned and trial.number not in successors)


def _why_useless(trial: FrozenTrial, successors: Mapping[int, int]) -> str:
    """The reason why the snapshots of an ended trial are of no more use."""
    if state(trial) == "COMPLETE":
        return "complete: its best weights are enough"
    if trial.number in successors:
        return f"continued by trial {successors[trial.number]}"
    if trial.state != TrialState.FAIL:
        return "pruned"
    return "given up" if "given_up" in trial.user_attrs else "ended from outside"


def _trim(weights: list[File], others: int, keep: Keep) -> tuple[list[File], str | None]:
    """Remove the worst from the end of `weights` until the limits are met, never the first; return the removed and a note.

    others: bytes of the files that are kept in any case.
    """
    surplus = []
    if keep.top_k is not None:
        surplus += [file.with_reason(f"not among the {keep.top_k} best") for file in weights[keep.top_k :]]
        del weights[keep.top_k :]
    total, quota = others + sum(file.bytes for file in weights), keep.quota_bytes
    if quota is None:
        return surplus, None
    while total > quota and len(weights) > 1:
        worst = weights.pop()
        surplus.append(worst.with_reason(f"over the quota of {format_bytes(quota)}"))
        total -= worst.bytes
    if total <= quota:
        return surplus, None
    why = "of the best trial, of running ones and of ones to be resumed"
    return (
        surplus,
        f"snapshots that must be kept take {format_bytes(total)}, over the quota of {format_bytes(quota)} ({why}): raise it",
    )


def format_bytes(count: int) -> str:
    """Format a number of bytes with a decimal unit: "1.2 GB"."""
    amount, units = float(count), ["B", "kB", "MB", "GB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1_000, units[1:]
    return f"{amount:.3g} {units[0]}"
