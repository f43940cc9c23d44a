"""The history of a trial so far: what was reported, and the file from which another trial of the same lineage goes on."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.report import Report
from model.snapshot import Snapshot
from pruners.health_record import Record, extended, measurements
from storage import checkpoints
from storage.paths import ARTIFACT_FILES, BEFORE, BEST, LAST


@dataclass(slots=True)
class TrialHistory:
    """All that a worker knows of its trial, apart from the trainer."""

    point: dict[str, Any]  # parameters and seed: a snapshot of another point is of no use
    record: Record  # the health record
    reports: list[Report] = field(default_factory=list)
    best: int | None = None  # of the reports, the one whose weights are kept in best.pt
    earlier: float = 0.0  # seconds that workers before this one spent
    began: float = field(default_factory=time.monotonic)

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

    def save(self, folder: Path, snapshot: Snapshot, more: dict[str, Any]) -> None:
        """Write last.pt whole, with `more` for other readers of it; what was the newest becomes the one before."""
        told = [report.as_dict() for report in self.reports]
        said = {"point": self.point, "record": self.record, "reports": told, "best": self.best, "seconds": self.seconds}
        checkpoints.save(folder / LAST, snapshot.as_dict() | {"course": said} | more, before=folder / BEFORE)

    def save_best(self, folder: Path, weights: dict[str, Any], more: dict[str, Any]) -> None:
        """Write best.pt: after last.pt, so that the best of a snapshot is in the one file or in the other."""
        assert self.kept is not None
        checkpoints.save(folder / BEST, {"weights": weights, "kframes": self.kept.kframes} | more)

    def bring_best(self, old: Path, new: Path, snapshot: Snapshot, more: dict[str, Any]) -> None:
        """Of the folder of `snapshot` the best weights; where the newest report was the best, the snapshot itself has them.

        Where neither does, since the file before the newest had to be taken, the best is sought among the reports to come.
        """
        if self.kept is None:
            return
        try:
            found = checkpoints.load(old / BEST)["kframes"]
        except (FileNotFoundError, ValueError, KeyError):
            found = None
        if found == self.kept.kframes:
            shutil.copyfile(old / BEST, new / BEST)
        elif self.best == len(self.reports) - 1 and not len(snapshot.window["records"]):  # no step since that report
            self.save_best(new, snapshot.weights, more)
        else:
            self.best = None


def newest(
    folders: Sequence[Path], point: dict[str, Any], tell: Callable[[str], None]
) -> tuple[TrialHistory, Snapshot, Path] | None:
    """The newest good snapshot of `point`, and its folder; `folders` are those of its lineage, the newest first.

    `tell` hears of one that is damaged or another point's. None where there is none: the trial begins at its beginning.
    """
    for path in (folder / name for folder in folders for name in (LAST, BEFORE)):
        try:
            values = checkpoints.load(path)
            said = values["course"]
            if said["point"] != point:
                raise ValueError(f"{path} is of another point")
            reports = [Report.from_dict(report) for report in said["reports"]]
            history = TrialHistory(said["point"], said["record"], reports, said["best"], said["seconds"])
            return history, Snapshot.from_dict(values), path.parent
        except FileNotFoundError:
            continue
        except ValueError as why:
            tell(f"{str(why).partition(': delete')[0]}: going on from an earlier one")
        except (KeyError, TypeError):
            tell(f"{path} is a snapshot of another version: going on from an earlier one")
    return None


def forget(folder: Path) -> None:
    """Remove what an earlier study of this name left of a trial of this number."""
    for name in (LAST, BEFORE, BEST, "reports.jsonl", *ARTIFACT_FILES):
        (folder / name).unlink(missing_ok=True)
