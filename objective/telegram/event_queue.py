"""What there is to tell of a study: events that follow from its state and from what was told, and from nothing else.

The same study and the same position give the same next event, in whatever process and whenever it is asked.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any, Self

from optuna.trial import FrozenTrial, TrialState

from objective.search.stopping import at_birth
from pruners.rules import Decision
from storage.outcome import is_finished

OLD = 10  # trials that had ended when Telegram was first switched on; of more than so many, none is told
DEAD = 3  # trials in a row, stopped at their first report, that are a red flag
FLAGS = ("grad_norm", "diagonality", "progress")  # rules whose critical answer is told while the trial still runs


@dataclass(frozen=True, slots=True)
class Scene:
    """A study at one moment."""

    name: str
    trials: Sequence[FrozenTrial]  # all, by number
    wanted: int
    budget_kframes: float
    found: Mapping[int, tuple[Decision, ...]] = field(default_factory=dict)  # by the rules, of the trials that run
    paused: bool = False
    stopped: str | None = None  # why nobody works on it any more
    flags: tuple[str, ...] = ()  # of its command, those that a further study needs, too

    @property
    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if is_finished(trial)]

    @property
    def running(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: started, resumed, stopped, done of the study; begun, ended, lost, failed, flag of a trial, by `rule`."""

    kind: str
    number: int = -1
    rule: str = ""


@dataclass(slots=True)
class Position:
    """What was told, as one JSON value of the study."""

    phase: str = ""  # the newest of started, resumed, stopped, done
    ended: set[int] = field(default_factory=set)  # trials whose end was told
    begun: set[int] = field(default_factory=set)  # trials of which was told what they repair, or go on with
    flags: list[str] = field(default_factory=list)  # "7 diagonality", of trials whose end was not told
    left: list[int] = field(default_factory=list)  # trials that seemed to run when the study had stopped
    telling: list[Any] | None = None  # the event of which a part was told,
    said: list[str] = field(default_factory=list)  # and which parts
    board: int | None = None  # number of the message
    bot: int | None = None  # whose updates are counted,
    offset: int = 0  # and the first of them that was not heeded
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # on the buttons of this study
    strangers: int = 0  # messages of chats that are not ours

    def dump(self) -> dict[str, Any]:
        return asdict(self) | {"ended": _ranges(self.ended), "begun": _ranges(self.begun)}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Self:
        """What `dump` gave, or of {} the start."""
        position = cls(**value)
        for name in ("ended", "begun") if value else ():
            setattr(position, name, {number for first, last in value[name] for number in range(first, last + 1)})
        return position


def next_event(scene: Scene, position: Position) -> Event | None:
    """What is to be told next; None where everything was."""
    if position.telling is not None:
        return Event(*position.telling)
    if not position.phase:
        return Event("started")
    happened = sorted(_happened(scene.trials, position), key=lambda pair: pair[0])
    over = position.phase in ("stopped", "done")
    if over and any(trial.number not in position.left for trial in scene.trials if _works(trial, position)):
        return Event("resumed")
    if happened:
        return happened[0][1]
    for number, decisions in scene.found.items():
        for found in decisions:
            if found.critical and found.rule in FLAGS and f"{number} {found.rule}" not in position.flags:
                return Event("flag", number, found.rule)
    if over:
        return None
    if scene.stopped == "finished" or (len(scene.finished) >= scene.wanted and not scene.running):
        return Event("done")
    return Event("stopped") if scene.stopped is not None else None


def told(event: Event, scene: Scene, position: Position) -> None:
    """Move the position behind an event."""
    position.telling, position.said = None, []
    if event.kind == "started":
        old = {before.number for _, before in _happened(scene.trials, position)}
        if len(old) > OLD:
            position.ended |= {number for number in old if scene.trials[number].state.is_finished()}
            position.begun |= old
    if event.kind in ("started", "resumed", "stopped", "done"):
        position.phase = event.kind
        position.left = [trial.number for trial in scene.running] if event.kind in ("stopped", "done") else []
    elif event.kind == "begun":
        position.begun.add(event.number)
    elif event.kind == "flag":
        position.flags.append(f"{event.number} {event.rule}")
    else:
        position.ended.add(event.number)
        position.flags = [flag for flag in position.flags if not flag.startswith(f"{event.number} ")]


def known(scene: Scene, position: Position) -> list[FrozenTrial]:
    """The finished trials whose end was told, with those that another study brought along."""
    return [trial for trial in scene.finished if trial.number in position.ended or "migrated_from" in trial.user_attrs]


def dead_in_a_row(trials: Iterable[FrozenTrial]) -> int:
    """How many of the newest of these finished trials were stopped at their first report."""
    newest = sorted(trials, key=_end, reverse=True)
    return len(list(takewhile(at_birth, newest)))


def _happened(trials: Sequence[FrozenTrial], position: Position) -> Iterator[tuple[tuple[datetime, int, int], Event]]:
    """What became of trials and was not told, with when it was: clocks decide about the order and nothing else."""
    for trial in trials:
        number, attributes = trial.number, trial.user_attrs
        if "migrated_from" in attributes:
            continue
        again = attributes.keys() & {"again_of", "repair_of"}
        if again and number not in position.begun and (trial.state == TrialState.RUNNING or is_finished(trial)):
            yield (trial.datetime_start or datetime.min, 0, number), Event("begun", number)
        kind = _kind(trial)
        if kind is not None and number not in position.ended:
            yield (max(_end(trial), trial.datetime_start or datetime.min), 1, number), Event(kind, number)


def _kind(trial: FrozenTrial) -> str | None:
    """Of the end of a trial. None for one that did not end, and for one that nobody misses."""
    if is_finished(trial):
        return "ended"
    if trial.state != TrialState.FAIL or "dropped" in trial.user_attrs:
        return None
    if "released" in trial.user_attrs:  # by a command that stops, of which is told, unless its worker died
        return "lost" if trial.user_attrs.keys() & {"died", "given_up"} else None
    return "failed"


def _works(trial: FrozenTrial, position: Position) -> bool:
    """Whether somebody works on a trial, or has done so since its end was told last."""
    if trial.state == TrialState.RUNNING:
        return True
    return is_finished(trial) and trial.number not in position.ended and "migrated_from" not in trial.user_attrs


def _end(trial: FrozenTrial) -> datetime:
    return trial.datetime_complete or datetime.min


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """{0, 1, 2, 5} -> [[0, 2], [5, 5]]: a study has thousands of trials, told almost in order."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
