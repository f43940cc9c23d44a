"""Read the log of a study while it grows: `events.jsonl`, and every trial's `reports.jsonl`.

A line is complete once it has its newline. One that a crash has torn, and that a later writer ended, is no record: it is left
out and counted. The only state is the number of bytes read, so a reader that restarts finds the same.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import BadInput
from model.report import Report
from objective.events.log_writer import record
from storage.outcome import RUNNING, Outcome, order, outcome_of
from storage.paths import trial_folder


class NoStudyLog(BadInput):
    """There is no study of this name, or it has no log."""


class Lines:
    """The records of one file, each of them once. The file may not exist yet, and may grow at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0  # bytes of the complete lines that were read
        self.torn = 0  # lines among them that are no records
        self._first = b""  # line

    def replaced(self) -> bool:
        """Return whether the file is another one than the one that was read."""
        try:
            with self.path.open("rb") as file:
                return file.read(len(self._first)) != self._first
        except FileNotFoundError:
            return False

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were added since the last call."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self.position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._first = self._first or line
                self.position += len(line)
                if (found := record(line)) is None:
                    self.torn += 1
                else:
                    yield found


@dataclass(slots=True)
class Trial:
    """A trial according to the events. Its reports are in a file of its own: `StudyLog.reports`."""

    number: int
    began: str  # UTC in ISO 8601
    params: dict[str, Any] = field(default_factory=dict)
    origin: str = "sampled"
    budget_kframes: float = 0.0
    again_of: int | None = None  # the trial that a machine stopped, and whose configuration this one has
    end: dict[str, Any] | None = None  # its TrialEnded, with the `health` of its last report
    lost: bool = False  # its worker died before it could log an end, and another trial has its configuration

    @property
    def state(self) -> str:
        """RUNNING, COMPLETE, PRUNED or FAIL."""
        return str(self.end["state"]) if self.end else "FAIL" if self.lost else "RUNNING"

    @property
    def healthy(self) -> bool:
        """True for a trial that ran to its end and meets every target."""
        return self.end is not None and outcome_of(self.state, self.end["violations"].values()) is Outcome.HEALTHY

    @property
    def spoken(self) -> dict[str, Any]:
        """Its free-running figures and what was heard (model/spoken.py: summary); empty where it was not judged."""
        return dict((self.end or {}).get("spoken") or {})

    @property
    def rank(self) -> tuple[int, float, float, int]:
        """The key that sorts trials the best first; one that runs comes before those that failed."""
        if self.state == "RUNNING":
            return RUNNING, 0.0, 0.0, self.number
        end = self.end or {"value": None, "violations": {}, "pruned_by": None}
        violations, severity = end["violations"].values(), end.get("severity", 1.0)
        key = order(
            outcome_of(self.state, violations),
            value=end["value"],
            violations=violations,
            pruned_by=end["pruned_by"],
            severity=float("inf") if severity is None else severity,
        )
        return *key, self.number


class StudyLog:
    """A study's log, read repeatedly: `look` returns the trials with news."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = ""  # a hash of its first event, which stays the same where the folder is moved to
        self.began = ""  # UTC in ISO 8601
        self.trials: dict[int, Trial] = {}
        self.started: dict[str, Any] = {}  # the newest StudyStarted
        self.end: dict[str, Any] | None = None  # the StudyEnded that followed it
        self.commands = 0  # that have worked on it: StudyStarted events
        self._events = Lines(folder / "events.jsonl")
        self._again: dict[int, int] = {}  # trial -> the next one of its configuration
        self._sizes: dict[int, int] = {}  # bytes of the reports of trials that have not ended
        self._torn: dict[int, int] = {}  # torn lines among the reports, by trial

    @property
    def torn(self) -> int:
        """Lines that were read and are no records."""
        return self._events.torn + sum(self._torn.values())

    def look(self) -> list[int | None]:
        """Return the trials with news since the last call, the oldest news first; None stands for news of the study."""
        news: dict[int | None, None] = {}
        if self._events.replaced():  # the folder was deleted, and the study created again
            self._events, self.identity = Lines(self._events.path), ""
        for event in self._events.new():
            if not self.identity:
                self._begin(event)
            number = event.get("number")
            if event["event"] in ("StudyStarted", "StudyEnded"):
                self._study(event)
                news[None] = None
            elif number is not None:
                if event["event"] == "TrialStarted" and number in self.trials:
                    self._begin(event)  # the database was deleted, and a study of this name created again
                    news = {None: None}
                news[number] = None
                self._trial(number, event)
        for trial in self.trials.values():
            if trial.end is None and self._grown(trial.number):
                news[trial.number] = None
        return list(news)

    def reports(self, number: int) -> list[Report]:
        """Return all reports of a trial so far; for one that resumed from an earlier trial, also the reports up to there."""
        lines = Lines(trial_folder(self.folder, number) / "reports.jsonl")
        found = [Report.from_dict(record) for record in lines.new()]
        self._torn[number] = lines.torn
        return found

    def attempts(self, number: int) -> list[Trial]:
        """Return all trials with the configuration of this one, the oldest first: each resumes from the one before."""
        first = self.trials[number]
        while first.again_of in self.trials:
            first = self.trials[first.again_of]
        line = [first]
        while line[-1].number in self._again:
            line.append(self.trials[self._again[line[-1].number]])
        return line

    def _begin(self, event: dict[str, Any]) -> None:
        self.identity = hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()[:16]
        self.began = event["at"]
        self.trials, self._again, self._sizes, self._torn = {}, {}, {}, {}

    def _study(self, event: dict[str, Any]) -> None:
        if event["event"] == "StudyStarted":
            self.started, self.end, self.commands = event, None, self.commands + 1
        else:
            self.end = event

    def _trial(self, number: int, event: dict[str, Any]) -> None:
        trial = self.trials.setdefault(number, Trial(number, event["at"]))
        if event["event"] == "TrialStarted":
            trial.params, trial.origin = event["params"], event["origin"]
            trial.budget_kframes = event["budget_kframes"]
            again = re.search(r", again after trial (\d+)$", trial.origin)
            if again:
                self._resumes(trial, int(again[1]))
        elif event["event"] == "Resumed":
            self._resumes(trial, event["of"])
        elif event["event"] == "TrialEnded":
            last = event["last"] or {}
            trial.end = event | {"last": None, "health": last.get("health")}  # the report itself is among the reports

    def _resumes(self, trial: Trial, before: int) -> None:
        trial.again_of = before
        if before in self.trials:
            self._again[before] = trial.number
            self.trials[before].lost = True

    def _grown(self, number: int) -> bool:
        try:
            size = (trial_folder(self.folder, number) / "reports.jsonl").stat().st_size
        except FileNotFoundError:
            return False
        before, self._sizes[number] = self._sizes.get(number), size
        return size != before


def open_study_log(out: Path, study: str) -> StudyLog:
    """Return the log of an existing study. Raises NoStudyLog, with the names of those that have one."""
    if (out / study / "events.jsonl").is_file():
        return StudyLog(out / study)
    names = sorted(file.parent.name for file in out.glob("*/events.jsonl"))
    way_out = f"choose one of {', '.join(names)}" if names else "no study there has one, choose another --out"
    raise NoStudyLog(f"need the name of a study with a log in {out}, got {study}: {way_out}")
