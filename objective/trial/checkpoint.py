"""The history of a trial so far, and the snapshots from which another trial of the same lineage resumes."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model import checkpoints
from model.report import Report
from model.snapshot import Snapshot
from objective.trial.rescue import Action
from pruners.health_record import Record, extended, measurements
from storage.paths import ALIGNMENTS, ARTIFACT_FILES, BEFORE, BEST, LAST, NEXT, SENTENCES
from storage.snapshot_writer import held

EARLIER = "resuming from an earlier one"


@dataclass(slots=True)
class TrialHistory:
    """All that a worker knows of its trial, apart from the trainer."""

    configuration: dict[str, Any]  # parameters and seed: a snapshot of another configuration is of no use
    record: Record  # the health record
    reports: list[Report] = field(default_factory=list)
    best: int | None = None  # place of the report whose weights are kept in best.pt
    earlier: float = 0.0  # seconds that earlier workers spent
    began: float = field(default_factory=time.monotonic)
    held: Callable[[], dict[str, Any]] | None = None  # best weights that are not yet written
    actions: list[Action] = field(default_factory=list)  # by which the training has repaired itself

    @property
    def last(self) -> Report | None:
        return self.reports[-1] if self.reports else None

    @property
    def kept(self) -> Report | None:
        return None if self.best is None else self.reports[self.best]

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.began

    def add(self, report: Report) -> None:
        self.reports.append(report)
        self.record = extended(self.record, measurements(report))

    def hold_best(self, weights: dict[str, Any]) -> None:
        """Hold copies of the best weights, until they are written with the next snapshot."""
        self.held = held({"weights": weights} | self._figures())

    def files(self, folder: Path, snapshot: Snapshot, more: dict[str, Any]) -> Callable[[], None]:
        """Copy the snapshot, and return what writes it as last.pt, with the entries of `more`; the newest becomes before.pt.

        Best weights that are held are written to next.pt before, which becomes best.pt afterwards: whenever a process is killed
        or the disk is full, one of the two holds the weights that the newest snapshot calls the best.
        """
        history = {
            "point": self.configuration,
            "record": self.record,
            "reports": [report.as_dict() for report in self.reports],
            "best": self.best,
            "seconds": self.seconds,
            "actions": [asdict(action) for action in self.actions],
        }
        copied = held(snapshot.as_dict())
        best, self.held = self.held, None

        def write() -> None:
            if best is not None:
                checkpoints.save(folder / NEXT, best() | more)
            checkpoints.save(folder / LAST, copied() | {"course": history} | more, before=folder / BEFORE)
            if best is not None:
                os.replace(folder / NEXT, folder / BEST)

        return write

    def save_best(self, folder: Path, weights: dict[str, Any], more: dict[str, Any]) -> None:
        """Write best.pt."""
        checkpoints.save(folder / BEST, {"weights": weights} | self._figures() | more)

    def _figures(self) -> dict[str, Any]:
        """Return what was measured of the best weights."""
        assert self.kept is not None
        known = {name: value for name, value in measurements(self.kept).items() if value is not None}
        return {"kframes": self.kept.kframes, "figures": known}

    def copy_best(self, old: Path, new: Path, snapshot: Snapshot, more: dict[str, Any]) -> None:
        """Copy the best weights from `old`, the folder of `snapshot`; take the snapshot's own if its newest report is the best.

        Where neither holds them, because the newest file was damaged, only reports to come can be the best.
        """
        if self.kept is None:
            return
        kept = self.kept.kframes
        if (found := next((old / name for name in (BEST, NEXT) if _kframes(old / name) == kept), None)) is not None:
            shutil.copyfile(found, new / BEST)
        elif self.best == len(self.reports) - 1 and not len(snapshot.window["records"]) and not snapshot.average:
            # There was no step since that report, and no averaged weights that it may be about.
            self.save_best(new, snapshot.weights, more)
        else:
            self.best = None


def _kframes(path: Path) -> float | None:
    """Return after how many kframes the weights of a file were the best; None where it cannot be read."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        return float(checkpoints.load(path)["kframes"])
    return None


def newest(
    folders: Sequence[Path], configuration: dict[str, Any], warn: Callable[[str], None]
) -> tuple[TrialHistory, Snapshot, Path] | None:
    """Return the newest good snapshot of a configuration, with its history and its folder; None where there is none.

    `folders` are those of its lineage, the newest first. `warn` receives a sentence for each snapshot that is damaged or
    belongs to another configuration.
    """
    for path in (folder / name for folder in folders for name in (LAST, BEFORE)):
        try:
            values = checkpoints.load(path)
            saved = values["course"]
            if saved["point"] != configuration:
                raise ValueError(f"{path} is of another configuration")
            reports = [Report.from_dict(report) for report in saved["reports"]]
            history = TrialHistory(configuration, saved["record"], reports, saved["best"], saved["seconds"])
            history.actions = [Action(**action) for action in saved.get("actions", ())]
            return history, Snapshot.from_dict(values), path.parent
        except FileNotFoundError:
            continue
        except ValueError as why:
            warn(f"{str(why).partition(': delete')[0]}: {EARLIER}")
        except (KeyError, TypeError):
            warn(f"{path} is a snapshot of another version: {EARLIER}")
    return None


def forget(folder: Path) -> None:
    """Remove the files that an earlier study of this name left of a trial of this number."""
    for name in (LAST, BEFORE, NEXT, BEST, ALIGNMENTS, SENTENCES, "reports.jsonl", *ARTIFACT_FILES):
        (folder / name).unlink(missing_ok=True)
