"""All that a check has found, as values: the terminal, the JSON and the page show these."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.data.problems import Problem
from objective.checking.findings import Finding
from objective.checking.measures import Row, columns
from objective.checking.network import Step

FORMAT = "tacotune check 1"
DIGITS = 4  # significant, in the JSON


@dataclass(frozen=True, slots=True)
class Report:
    """The findings, and what they were found in."""

    path: Path
    language: str
    columns: str
    lines: int  # good and bad
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...]  # the most harmful first
    lengths: str  # the verdict on them
    correlations: dict[int, float]  # of letters and seconds, by shift
    listening: dict[str, Any]  # kframes and seconds of the listener, or why it did not listen
    step: Step | None
    losses: tuple[float, ...]  # of the probe
    seconds: float  # that the check took

    @property
    def hours(self) -> float:
        """Hours of speech that can be used."""
        return sum(row.seconds for row in self.rows) / 3600

    @property
    def exit_code(self) -> int:
        """0: fine; 1: a training should not start with this."""
        return int(any(finding.stops for finding in self.findings))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "format": FORMAT,
            "data": str(self.path.absolute()),
            "language": self.language,
            "columns": self.columns,
            "hours": _rounded(self.hours),
            "lines": self.lines,
            "exit_code": self.exit_code,
            "findings": [
                {
                    "kind": one.kind,
                    "stops": one.stops,
                    "sentence": one.sentence,
                    "todo": one.todo,
                    "lines": [row.id for row in one.rows],
                }
                for one in self.findings
            ],
            "problems": [asdict(problem) for problem in self.problems],
            "remarks": list(self.remarks),
            "lengths": {
                "verdict": self.lengths,
                "correlation": {str(shift): _rounded(value) for shift, value in self.correlations.items()},
            },
            "medians": self.medians(),
            "listening": self.listening,
            "network": None if self.step is None else {**asdict(self.step), "probe": list(self.losses)},
            "seconds": _rounded(self.seconds),
            "utterances": [
                {
                    name: _rounded(value) if isinstance(value, float) else str(value) if isinstance(value, Path) else value
                    for name, value in asdict(row).items()
                }
                for row in self.rows
            ],
        }

    def medians(self) -> dict[str, float]:
        """Return what is usual in the recordings."""
        names = ("seconds", "level_db", "floor_db", "bandwidth_hz", "lead_s", "tail_s")
        found = {name: _rounded(float(np.median(columns(self.rows, name)))) for name in names if self.rows}
        if self.rows:
            found["letters_per_s"] = _rounded(float(np.median(columns(self.rows, "letters") / columns(self.rows, "sound_s"))))
        return found


def by_reason(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    """Group problems by their reason, the most frequent first."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.reason, []).append(problem)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
