"""Summarise a study from its storage: counts of outcomes, frames saved, time left, and the closing page."""

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.display.advice import nearer
from objective.display.heard import spoken_of
from objective.events.types import StudyEnded, TrialEnded
from pruners.alignment import nobody_aligned
from pruners.thresholds import ALIGNMENT
from storage.outcome import STOPPED, finished, healthy, is_finished, outcome, pruned, rank, reason, state
from storage.paths import trial_folder

ROWS = 8  # of the closing page
ENOUGH = 8  # complete trials for importances that are more than chance


def outcomes(trials: Iterable[FrozenTrial]) -> Counter[str]:
    """Return how many of these finished trials are healthy, sick, pruned."""
    return Counter(str(outcome(trial)) for trial in trials)


def saved_kframes(trials: Iterable[FrozenTrial], budget_kframes: float) -> dict[str, float]:
    """Return the kframes saved by stopping these finished trials early, by the rule that stopped them."""
    saved: dict[str, float] = {}
    for trial in trials:
        by = trial.user_attrs.get("pruned_by") or trial.user_attrs.get("ended_by")
        if by is None:
            continue
        saved[by] = saved.get(by, 0.0) + budget_kframes - trial.user_attrs.get("kframes", 0.0)
    return saved


def seconds_left(trials: Iterable[FrozenTrial], wanted: int, budget_kframes: float, idle: int = 0) -> float:
    """Return how long a study may still take, from the mean of its finished trials and the progress of the running ones.

    idle: workers between two trials. 0 where there is no finished trial, or no worker.
    """
    trials = list(trials)
    done = [trial for trial in trials if is_finished(trial)]
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    seconds = [trial.user_attrs["seconds"] for trial in done if "seconds" in trial.user_attrs]
    workers = len(running) + idle
    if not seconds or not workers:
        return 0.0
    begun = sum(min(1.0, reached(trial) / budget_kframes) for trial in running)
    return fmean(seconds) * max(0.0, wanted - len(done) - begun) / workers


def reached(trial: FrozenTrial) -> float:
    """Return the kframes of a running trial at its last report."""
    record = trial.user_attrs.get("health", {})
    return float(record["kframes"][-1]) if record.get("kframes") else float(trial.user_attrs.get("from_kframes", 0.0))


def as_event(trial: FrozenTrial, folder: Path, budget_kframes: float) -> TrialEnded:
    """Return the end of a finished trial as far as the study has stored it; `folder` is that of the study."""
    attributes = trial.user_attrs
    kframes = attributes.get("kframes", 0.0)
    return TrialEnded(
        number=trial.number,
        state=state(trial),
        value=trial.value,
        reason=reason(trial),
        pruned_by=attributes.get("pruned_by"),
        violations={name.removeprefix("health/"): amount for name, amount in trial.constraints.items()},
        seconds=attributes.get("seconds", 0.0),
        kframes=kframes,
        saved_kframes=sum(saved_kframes([trial], budget_kframes).values()),
        folder=trial_folder(folder, trial.number),
        last=None,
        severity=attributes.get("pruned_severity", 1.0 if pruned(trial) else 0.0),
        spoken=spoken_of(attributes),
    )


def ended(
    study: optuna.Study,
    why: str,
    wanted: int,
    budget_kframes: float,
    seconds: float,
    commands: tuple[str, ...],
    unaligned: int = 0,
) -> StudyEnded:
    """Return the content of the closing page of a study. `unaligned`: as the setting of the study."""
    trials = sorted(finished(study), key=rank)
    differing = {
        name for trial in trials for name in trial.params if len({str(other.params.get(name)) for other in trials}) > 1
    }
    settings, hopeless = study.user_attrs.get("settings", {}), nobody_aligned(study.get_trials(deepcopy=False), unaligned)
    return StudyEnded(
        why=why,
        finished=len(trials),
        wanted=wanted,
        seconds=seconds,
        next_commands=commands,
        trials=tuple(_row(trial, differing) for trial in trials[:ROWS]),
        importances=importances(study),
        saved_kframes=saved_kframes(trials, budget_kframes),
        repairs=repairs(trials),
        unaligned=hopeless,
        advice="" if hopeless or not trials else advice(trials[0], settings),
    )


def advice(closest: FrozenTrial, settings: dict[str, Any]) -> str:
    """Return what would bring a trial that is not understood, or reads badly, nearer to it; empty for any other.

    settings: the study's, for what the trial does not search.
    """
    missed = {name.removeprefix("health/") for name, amount in closest.constraints.items() if amount > 0}
    if not missed & {"understood", *ALIGNMENT}:
        return ""
    record, knob = closest.user_attrs.get("health", {}), "network.drop_frame_rate"
    measured = zip(record.get("kframes", ()), record.get("free_errors", ()), strict=False)
    rate = closest.params.get(knob, settings.get("network", {}).get("drop_frame_rate"))
    errors = [(kframes, errors) for kframes, errors in measured if errors is not None]
    return nearer(errors, rate if "understood" in missed else None)


def repairs(trials: list[FrozenTrial]) -> tuple[int, int]:
    """Return how many repairs rank before their parents, and how many repairs there were.

    A repair that a rule stopped is never better: how far it was past its level does not compare with another rule's.
    """
    by_number = {trial.number: trial for trial in trials}
    pairs = [(trial, by_number[trial.user_attrs["repair_of"]]) for trial in trials if "repair_of" in trial.user_attrs]
    return sum(rank(repair)[0] < STOPPED and rank(repair) < rank(parent) for repair, parent in pairs), len(pairs)


def importances(study: optuna.Study) -> dict[str, float]:
    """Return how much each parameter mattered for the value (PED-ANOVA); empty with fewer than ENOUGH complete trials."""
    complete = [trial for trial in finished(study) if trial.state == TrialState.COMPLETE]
    if len(complete) < ENOUGH:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # for parameters that few trials have: they come out near zero
            found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):  # no parameter is common to all, or none varies
        return {}
    return {short(name): share for name, share in found.items()}


def short(name: str) -> str:
    """Return `learning_rate` for `training.learning_rate`; the switch `loss.guided_weight.on` becomes `guided_weight.on`."""
    return ".".join(name.split(".")[1:])


def described(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as a person reads them: a switch is only shown where it is off."""
    shown = {short(name): value for name, value in params.items() if not name.endswith(".on")}
    return shown | {short(name).removesuffix(".on"): "off" for name, value in params.items() if value is False}


def _row(trial: FrozenTrial, differing: set[str]) -> dict[str, Any]:
    attributes = trial.user_attrs
    return {
        "number": trial.number,
        "state": state(trial),
        "value": trial.value,
        "healthy": healthy(trial),
        **{name: attributes.get(name) for name in ("diagonality", "reading")},
        "spoken": spoken_of(attributes),
        "seconds": attributes.get("seconds", 0.0),
        "params": {} if pruned(trial) else described({name: trial.params[name] for name in trial.params if name in differing}),
        "reason": reason(trial),
    }
