"""Choose the event of a study that is reported next.

The choice follows from the study's state and from what has been reported, and from nothing else: the same study and the same
position give the same next event, in any process and at any time.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, Self

from optuna.trial import FrozenTrial, TrialState

from objective.search.stopping import stopped_at_first_report
from pruners.decision import Decision
from storage.outcome import is_finished

BACKLOG = 10  # a study with more finished trials than this, when Telegram is first switched on, is reported from then on
DEAD_IN_A_ROW = 3  # consecutive trials pruned at their first report that are a red flag
FLAGS = ("grad_norm", "diagonality", "progress")  # rules whose critical decision is reported while the trial still runs


@dataclass(frozen=True, slots=True)
class StudyState:
    """A study at one moment."""

    name: str
    trials: Sequence[FrozenTrial]  # all, by number
    wanted: int
    budget_kframes: float
    decisions: Mapping[int, tuple[Decision, ...]] = field(
        default_factory=dict
    )  # of the rules, by the number of a running trial
    paused: bool = False
    stopped: str | None = None  # why no worker is active any more
    flags: tuple[str, ...] = ()  # of the study's command that a further study needs, too

    @property
    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if is_finished(trial)]

    @property
    def running(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` of a study: started, resumed, stopped, done; of a trial: begun, ended, lost, failed, or flag with its `rule`."""

    kind: str
    number: int = -1
    rule: str = ""


@dataclass(slots=True)
class Position:
    """The part of the study that has been reported, kept as one JSON attribute; the fields' names belong to that format."""

    phase: str = ""  # the newest of started, resumed, stopped, done
    ended: set[int] = field(default_factory=set)  # trials whose end has been reported
    begun: set[int] = field(default_factory=set)  # trials that were reported as a repair or a retry
    flags: list[str] = field(default_factory=list)  # "7 diagonality", for trials whose end has not been reported
    left: list[int] = field(default_factory=list)  # trials that seemed to run when the study stopped
    telling: list[Any] | None = None  # an event that has been reported in part,
    said: list[str] = field(default_factory=list)  # and the parts that were
    board: int | None = None  # number of the pinned message
    bot: int | None = None  # the bot whose updates are counted,
    offset: int = 0  # and the first update that has not been handled
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # on the buttons of this study
    strangers: int = 0  # ignored messages from other chats

    def dump(self) -> dict[str, Any]:
        return asdict(self) | {"ended": _ranges(self.ended), "begun": _ranges(self.begun)}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Self:
        """Restore a position from the result of `dump`; {} is the start."""
        position = cls(**value)
        for name in ("ended", "begun") if value else ():
            setattr(position, name, {number for first, last in value[name] for number in range(first, last + 1)})
        return position


def next_event(state: StudyState, position: Position) -> Event | None:
    """Return the event to report next; None if everything has been reported."""
    if position.telling is not None:
        return Event(*position.telling)
    if not position.phase:
        return Event("started")
    pending = sorted(_pending(state.trials, position), key=lambda pair: pair[0])
    over = position.phase in ("stopped", "done")
    if over and any(trial.number not in position.left for trial in state.trials if _in_progress(trial, position)):
        return Event("resumed")
    if pending:
        return pending[0][1]
    for number, decisions in state.decisions.items():
        for decision in decisions:
            if decision.critical and decision.rule in FLAGS and f"{number} {decision.rule}" not in position.flags:
                return Event("flag", number, decision.rule)
    if over:
        return None
    if state.stopped == "finished" or (len(state.finished) >= state.wanted and not state.running):
        return Event("done")
    return Event("stopped") if state.stopped is not None else None


def advance(position: Position, event: Event, state: StudyState) -> None:
    """Move `position` past `event`, which has been reported."""
    position.telling, position.said = None, []
    if event.kind == "started":
        past = {earlier.number for _, earlier in _pending(state.trials, position)}
        if len(past) > BACKLOG:
            position.ended |= {number for number in past if state.trials[number].state.is_finished()}
            position.begun |= past
    if event.kind in ("started", "resumed", "stopped", "done"):
        position.phase = event.kind
        position.left = [trial.number for trial in state.running] if event.kind in ("stopped", "done") else []
    elif event.kind == "begun":
        position.begun.add(event.number)
    elif event.kind == "flag":
        position.flags.append(f"{event.number} {event.rule}")
    else:
        position.ended.add(event.number)
        position.flags = [flag for flag in position.flags if not flag.startswith(f"{event.number} ")]


def reported_trials(state: StudyState, position: Position) -> list[FrozenTrial]:
    """Return the finished trials whose end has been reported, and those that were migrated from another study."""
    return [trial for trial in state.finished if trial.number in position.ended or "migrated_from" in trial.user_attrs]


def dead_in_a_row(trials: Iterable[FrozenTrial]) -> int:
    """Return how many of the newest of these finished trials, without a break, were pruned at their first report."""
    newest = sorted(trials, key=_end_time, reverse=True)
    return len(list(takewhile(stopped_at_first_report, newest)))


def _pending(trials: Sequence[FrozenTrial], position: Position) -> Iterator[tuple[tuple[datetime, int, int], Event]]:
    """Yield the unreported events of trials, each with its place in time: clocks decide the order and nothing else."""
    for trial in trials:
        number, attributes = trial.number, trial.user_attrs
        if "migrated_from" in attributes:
            continue
        retried = attributes.keys() & {"again_of", "repair_of"}
        if retried and number not in position.begun and (trial.state == TrialState.RUNNING or is_finished(trial)):
            yield (trial.datetime_start or datetime.min, 0, number), Event("begun", number)
        kind = _end_kind(trial)
        if kind is not None and number not in position.ended:
            yield (max(_end_time(trial), trial.datetime_start or datetime.min), 1, number), Event(kind, number)


def _end_kind(trial: FrozenTrial) -> str | None:
    """Return how a trial ended; None if it has not, or if its end is not worth a message."""
    if is_finished(trial):
        return "ended"
    if trial.state != TrialState.FAIL or "dropped" in trial.user_attrs:
        return None
    if "released" in trial.user_attrs:  # the stop of its command is an event of the study, unless its worker died
        return "lost" if trial.user_attrs.keys() & {"died", "given_up"} else None
    return "failed"


def _in_progress(trial: FrozenTrial, position: Position) -> bool:
    """Return whether a trial runs, or has finished since the last report."""
    if trial.state == TrialState.RUNNING:
        return True
    return is_finished(trial) and trial.number not in position.ended and "migrated_from" not in trial.user_attrs


def _end_time(trial: FrozenTrial) -> datetime:
    return trial.datetime_complete or datetime.min


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return {0, 1, 2, 5} as [[0, 2], [5, 5]]: short for thousands of trials that are reported almost in order."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
