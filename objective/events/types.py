"""Events of a study, as values: workers create them, sinks show or record them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from model.report import Report
from storage.outcome import Outcome, outcome_of


@dataclass(frozen=True, slots=True)
class StudyStarted:
    name: str
    storage: str  # URL without its password
    folder: Path  # runs/<study>
    wanted: int  # finished trials requested
    finished: int  # trials of earlier commands among them
    notes: tuple[str, ...] = ()  # one sentence each: the corpus, what was left out, the device
    best: tuple[float, int] | None = None  # value and number of the best trial of earlier runs
    views: tuple[str, ...] = ()  # how to open each of them, one line each
    workers: int = 1  # of this command, each running one trial


@dataclass(frozen=True, slots=True)
class TrialStarted:
    number: int
    ordinal: int  # the k of "trial k of N", from 1: finished ones and this one
    params: dict[str, Any]
    origin: str  # "sampled", or where an enqueued configuration is from: "recipe nvidia", "repair of trial 3: r 2 -> 3"
    budget_kframes: float
    finished: int = 0  # trials of the study, by whatever worker, when this one started
    changes: tuple[str, ...] = ()  # a sentence for each setting of a recipe that the space adapts, or that a repair changes


@dataclass(frozen=True, slots=True)
class Resumed:
    """A trial resumes from the snapshot of an earlier one of its lineage."""

    number: int
    of: int  # the trial that a machine stopped
    kframes: float  # where it resumes
    reports: tuple[Report, ...]  # those up to there


@dataclass(frozen=True, slots=True)
class Progressed:
    """Frames seen between two reports. Frequent: a sink that writes to a disk or a network ignores it."""

    number: int
    kframes: float
    updates: int


@dataclass(frozen=True, slots=True)
class Reported:
    number: int
    report: Report
    status: str  # STABLE | ATTENTION | CRITICAL, computed from the health levels
    findings: tuple[str, ...] = ()  # what raised it, a sentence each


@dataclass(frozen=True, slots=True)
class Phase:
    """A running trial does something other than training: it is evaluated, or it stops."""

    number: int
    name: str  # "evaluating: synthesising 5 sentences", "stopping: saving its snapshot (interrupted)"
    stopping: bool = False  # a person or the clock wants it to stop


@dataclass(frozen=True, slots=True)
class TrialEnded:
    number: int
    state: str  # COMPLETE | PRUNED | FAIL
    value: float | None
    reason: str | None  # the sentence why, of a prune or a failure
    pruned_by: str | None
    violations: dict[str, float]  # constraint -> how far it is broken (<= 0 is met)
    seconds: float
    kframes: float
    saved_kframes: float  # of the budget, by stopping early
    folder: Path
    last: Report | None
    is_best: bool = False
    severity: float = 0.0  # how far past its level the rule was that pruned it
    spoken: dict[str, Any] = field(default_factory=dict)  # free-running figures and texts (model/spoken.py: summary)

    @property
    def healthy(self) -> bool:
        return outcome_of(self.state, self.violations.values()) is Outcome.HEALTHY


@dataclass(frozen=True, slots=True)
class Warned:
    """A sentence that a person should see at once, also in a quiet console."""

    sentence: str


@dataclass(frozen=True, slots=True)
class StudyEnded:
    why: str  # "finished", "interrupted", "time is up after 3600 s"
    finished: int
    wanted: int
    seconds: float
    next_commands: tuple[str, ...]  # to type, a line each
    trials: tuple[dict[str, Any], ...] = field(default=())  # rows of the closing table, best first
    importances: dict[str, float] = field(default_factory=dict)
    saved_kframes: dict[str, float] = field(default_factory=dict)  # by what pruned
    repairs: tuple[int, int] = (0, 0)  # those better than their parents, and all
    unaligned: str | None = None  # a sentence on what to change, where no trial has aligned
    advice: str = ""  # while no trial is healthy: what would bring the closest one nearer


Event = StudyStarted | TrialStarted | Resumed | Progressed | Reported | Phase | TrialEnded | Warned | StudyEnded


class Sink(Protocol):
    """A receiver of events. Where it raises, it is muted for the rest of the run, and the trial continues."""

    name: str

    def emit(self, event: Event) -> None: ...

    def close(self) -> None: ...
