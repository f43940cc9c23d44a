"""Release trials that a machine stopped, and retry their configurations as new trials of the same lineage.

To release a trial is to set its attribute `released` to the reason, and then its state to FAIL. A state can be set only once,
so of two workers that find the trial of a dead one, one alone releases it, and a worker that was wrongly taken for dead learns
that the trial is no longer its own. Which configurations are still to be retried follows from the study alone, so nothing is
lost when a worker dies between two writes. A FAIL without `released` was requested by a person and is not retried.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from storage.optuna_private import fail, set_attribute

# What a retry inherits: what identifies its configuration. Health records, rungs and constraints stay with the old trial.
INHERITED = ("k", "origin", "changes", "repair_of", "repair_depth", "repair_why")
RETRY_ORIGIN = "again after trial "
MAX_DEATHS = 5  # consecutive worker deaths at the same report, after which a configuration is no longer retried


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, including those that were enqueued and not yet suggested."""
    return dict(trial.system_attrs.get("fixed_params", {}) | trial.params)


def release(study: optuna.Study, number: int, why: str, died: bool = False) -> bool:
    """End a trial that the machine stopped, so that its configuration is retried. False where it had already ended.

    died: its worker did not survive. A configuration that stops MAX_DEATHS workers at the same report is given up.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    marks: dict[str, Any] = {"released": why}
    if died:
        marks["died"] = True
        before = ancestors(trials, trial)[: MAX_DEATHS - 1]
        same_place = (it.user_attrs.get("died") and _progress(it) == _progress(trial) for it in before)
        if len(before) == MAX_DEATHS - 1 and all(same_place):
            marks["given_up"] = (
                f"its configuration stopped {MAX_DEATHS} consecutive workers at the same place: it is not retried"
            )
    try:
        for name, value in marks.items():
            set_attribute(study, trial, name, value)
        fail(study, trial)
    except UpdateFinishedTrialError:
        return False
    return True


def discard(study: optuna.Study, trial: optuna.Trial, why: str) -> None:
    """End a trial that should not have been started. Its configuration is not retried."""
    trial.set_user_attr("dropped", why)
    study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def enqueue_retries(study: optuna.Study, trials: Sequence[FrozenTrial]) -> bool:
    """Enqueue the configurations of released trials that have no successor yet; return whether there were any.

    `trials` are all trials, just read. Two workers may do this at the same moment: see `is_duplicate`.
    """
    enqueued = False
    followed = {number for trial in trials for number in _predecessor(trial)}
    tasks: set[tuple[str, Any]] = set()
    for trial in trials:
        task = _task(trial.user_attrs)
        duplicate = task in tasks
        tasks |= {task} if task else set()
        if is_retried(trial) and trial.number not in followed and not duplicate:
            inherited = {name: trial.user_attrs[name] for name in INHERITED if name in trial.user_attrs}
            study.enqueue_trial(parameters_of(trial), user_attrs=inherited | {"again_of": trial.number})
            enqueued = True
    return enqueued


def is_retried(trial: FrozenTrial) -> bool:
    """Return whether the configuration of a trial is to be retried. One released before it had its k lost nothing."""
    attributes = trial.user_attrs
    released = trial.state == TrialState.FAIL and "released" in attributes and "given_up" not in attributes
    return released and "k" in attributes


def is_duplicate(trials: Sequence[FrozenTrial], trial: optuna.Trial) -> bool:
    """Return whether an earlier trial has the same task: two workers enqueued one retry, repair or recipe at the same moment.

    `trials` are all trials up to this one, read after it was started.
    """
    task = _task(trial.user_attrs)
    return task is not None and any(_task(other.user_attrs) == task for other in trials[: trial.number])


def ancestors(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the earlier trials of the lineage, those that this one retries, newest first."""
    line: list[FrozenTrial] = []
    number = trial.user_attrs.get("again_of")
    while number is not None:
        line.append(trials[number])
        number = trials[number].user_attrs.get("again_of")
    return line


def ordinal(trials: Sequence[FrozenTrial], number: int) -> int:
    """Return the ordinal k of a new trial: how many new configurations came before it.

    Retries and repairs are not new. k is unique, so that no two configurations share their seeds.
    """
    earlier = trials[:number]
    first = 1 + max((trial.user_attrs["k"] for trial in earlier if "migrated_from" in trial.user_attrs), default=-1)
    used: list[int] = []
    for trial in [trial for trial in earlier if _is_new(trial)]:
        used.append(trial.user_attrs["k"] if "k" in trial.user_attrs else _next_free(first, used))  # which it will take
    return _next_free(first, used)


def _next_free(first: int, used: Sequence[int]) -> int:
    k = first + len(used)
    return k if k not in used else max(used) + 1


def _progress(trial: FrozenTrial) -> tuple[Any, Any]:
    """The known progress of a trial: the frames from which it resumed, and its last report."""
    return trial.user_attrs.get("from_kframes"), trial.last_step


def _predecessor(trial: FrozenTrial) -> tuple[int, ...]:
    """The trial that this one retries, if any. Earlier versions recorded it in the origin alone."""
    origin = str(trial.user_attrs.get("origin", ""))
    if "again_of" in trial.user_attrs:
        return (trial.user_attrs["again_of"],)
    return (int(origin.removeprefix(RETRY_ORIGIN)),) if origin.startswith(RETRY_ORIGIN) else ()


def _is_new(trial: FrozenTrial) -> bool:
    attributes = trial.user_attrs
    unnamed = "released" in attributes and "k" not in attributes  # it ended before it had parameters
    return not unnamed and not attributes.keys() & {"again_of", "repair_of", "dropped", "migrated_from"}


def _task(attributes: dict[str, Any]) -> tuple[str, Any] | None:
    """The task of a trial that two workers may enqueue at once: a retry, a repair or a recipe. None for any other trial."""
    for name in ("again_of", "repair_of"):
        if name in attributes:
            return name, attributes[name]
    origin = str(attributes.get("origin", ""))
    return ("recipe", origin) if origin.startswith("recipe ") and "migrated_from" not in attributes else None
