"""A trial that a machine stopped is released, and its point comes again as a new trial of the same lineage.

Released is: the attribute `released` with the sentence why, then FAIL. The state is the fence: it can be set once, so that of
two workers that find a dead one's trial only one releases it, and a worker that was thought dead learns that the trial is no
longer its own. Which points are owed follows from the study alone, so whoever dies between two writes loses nothing. A FAIL
without `released` was somebody's wish, and does not come again.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from storage.optuna_private import fail, set_attribute

KEPT = ("k", "origin", "changes", "repair_of", "repair_depth", "repair_why")  # what a point is; rungs and constraints are not
AGAIN = "again after trial "
DEATHS = 5  # of workers in a row, at the same report: a point that does this would do it for ever


def point(trial: FrozenTrial) -> dict[str, Any]:
    """Its parameters, those included that were enqueued and not yet asked for."""
    return dict(trial.system_attrs.get("fixed_params", {}) | trial.params)


def release(study: optuna.Study, number: int, why: str, died: bool = False) -> bool:
    """StopReason a trial that the machine stopped, so that its point comes again. False where somebody else has ended it.

    `died` says that its worker did not come back: a point that stops DEATHS workers at the same report is given up.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    marks: dict[str, Any] = {"released": why}
    if died:
        marks["died"] = True
        before = ancestors(trials, trial)[: DEATHS - 1]
        if len(before) == DEATHS - 1 and all(it.user_attrs.get("died") and _place(it) == _place(trial) for it in before):
            marks["given_up"] = f"its point stopped {DEATHS} workers in a row, at the same place: it does not come again"
    try:
        for name, value in marks.items():
            set_attribute(study, trial, name, value)
        fail(study, trial)
    except UpdateFinishedTrialError:
        return False
    return True


def drop(study: optuna.Study, trial: optuna.Trial, why: str) -> None:
    """StopReason a trial that should not have been asked for; its point does not come again."""
    trial.set_user_attr("dropped", why)
    study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def enqueue_owed(study: optuna.Study, trials: Sequence[FrozenTrial]) -> bool:
    """Enqueue the points of released trials that have no successor in `trials`, all as they are now; whether there are any.

    Two workers may do so at once: see `doubled`.
    """
    owed = False
    followed = {number for trial in trials for number in _follows(trial)}
    tasks: set[tuple[str, Any]] = set()
    for trial in trials:
        task = _task(trial.user_attrs)
        twin = task in tasks
        tasks |= {task} if task else set()
        if comes_again(trial) and trial.number not in followed and not twin:
            kept = {name: trial.user_attrs[name] for name in KEPT if name in trial.user_attrs}
            study.enqueue_trial(point(trial), user_attrs=kept | {"again_of": trial.number})
            owed = True
    return owed


def comes_again(trial: FrozenTrial) -> bool:
    """Whether its point is tried again. One that was released before it had a point has lost nothing."""
    known = trial.user_attrs
    released = trial.state == TrialState.FAIL and "released" in known and "given_up" not in known
    return released and "k" in known and bool(point(trial))


def doubled(trials: Sequence[FrozenTrial], trial: optuna.Trial) -> bool:
    """Whether another worker enqueued the same point again, the same repair or recipe, at the same moment and first.

    `trials` are all up to this one, as they are since it was asked for.
    """
    mine = _task(trial.user_attrs)
    return mine is not None and any(_task(other.user_attrs) == mine for other in trials[: trial.number])


def ancestors(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[FrozenTrial]:
    """The trials whose point this one is again, the newest first."""
    line: list[FrozenTrial] = []
    number = trial.user_attrs.get("again_of")
    while number is not None:
        line.append(trials[number])
        number = trials[number].user_attrs.get("again_of")
    return line


def ordinal(trials: Sequence[FrozenTrial], number: int) -> int:
    """The k of a new trial: how many points of their own came before it. Unique, so that no two points share their seeds."""
    earlier = trials[:number]
    first = 1 + max((trial.user_attrs["k"] for trial in earlier if "migrated_from" in trial.user_attrs), default=-1)
    used: list[int] = []
    for trial in [trial for trial in earlier if _is_new(trial)]:
        used.append(trial.user_attrs["k"] if "k" in trial.user_attrs else _free(first, used))  # it will take that one
    return _free(first, used)


def _free(first: int, used: Sequence[int]) -> int:
    k = first + len(used)
    return k if k not in used else max(used) + 1


def _place(trial: FrozenTrial) -> tuple[Any, Any]:
    """How far it is known to have come: the frames from which it went on, and its last report."""
    return trial.user_attrs.get("from_kframes"), trial.last_step


def _follows(trial: FrozenTrial) -> tuple[int, ...]:
    """The trial whose point this one is again, if any; earlier versions said so in its origin alone."""
    origin = str(trial.user_attrs.get("origin", ""))
    if "again_of" in trial.user_attrs:
        return (trial.user_attrs["again_of"],)
    return (int(origin.removeprefix(AGAIN)),) if origin.startswith(AGAIN) else ()


def _is_new(trial: FrozenTrial) -> bool:
    known = trial.user_attrs
    nameless = "released" in known and "k" not in known  # it ended before it had a point
    return not nameless and not known.keys() & {"again_of", "repair_of", "dropped", "migrated_from"}


def _task(known: dict[str, Any]) -> tuple[str, Any] | None:
    """What may be enqueued twice: again a point, a repair, a recipe; None for any other trial."""
    for name in ("again_of", "repair_of"):
        if name in known:
            return name, known[name]
    origin = str(known.get("origin", ""))
    return ("recipe", origin) if origin.startswith("recipe ") and "migrated_from" not in known else None
