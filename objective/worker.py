"""Ask, run, tell: one loop of our own, until the study has the wanted number of finished trials.

COMPLETE is a result, PRUNED a fact about the point, FAIL a fact about the machine. Finished means COMPLETE or PRUNED. The
point of a trial that fails is enqueued again with its ordinal k, and the seed of trial k depends on the study's seed and k
alone, so that an interrupted study tries what an undisturbed one would have tried.
"""
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from objective.board import best_trial, finished, point, reason
from objective.events import TrialEnded, TrialStarted, Warned
from objective.failures import MACHINE, machine_failure
from objective.interruption import Interrupted
from objective.notes import note, save
from objective.repair import depth, owed
from objective.trial import Ending, Lab, run_trial
from pruners.record import point as measured
from search_spaces.space import Space
from storage.leases import beside, orphans, owner

LOOK_S = 0.5  # between two looks at a study whose last trials run beside this worker
SAMPLER, TRAINER = 0, 1  # two streams of random numbers for each trial
_KEPT = ("k", "changes", "repair_of", "repair_depth", "repair_why")  # attributes of a point that comes again


def work(study: optuna.Study, lab: Lab) -> str:
    """Runs trials until the study is done; returns the sentence why it stopped. Raises what the machine does."""
    settings = lab.settings
    reclaim(study, lab)
    started = time.monotonic()
    while True:
        done = len(finished(study))
        if done >= settings.study.trials:
            return "finished"
        limit = settings.study.timeout_s
        if limit is not None and time.monotonic() - started >= limit:
            return f"time is up after {limit:g} s"
        try:
            lab.interruption.check()
            if done + len(beside(study)) >= settings.study.trials:
                time.sleep(LOOK_S)  # the last ones run already; should one be released, its point is ours
                reclaim(study, lab)
            else:
                run_one(study, lab, done + 1)
        except Interrupted:
            return "interrupted"


def run_one(study: optuna.Study, lab: Lab, ordinal: int) -> None:
    """One trial from ask to tell."""
    settings = lab.settings
    enqueue_repair(study, lab.space, settings.repair.max_per_trial)
    trial = study.ask()
    began = time.monotonic()
    try:
        trial.set_user_attr("owner", owner())
        earlier = [other for other in beside(study) if other.number < trial.number]
        if len(finished(study)) + len(earlier) >= settings.study.trials:
            release(study, trial.number, "another worker runs the last trial")  # both saw room for one more
            return
        if twin(study, trial):
            study.tell(trial, state=TrialState.FAIL)
            return
        k = trial.user_attrs["k"] if "k" in trial.user_attrs else _ordinal(study, trial.number)
        trial.set_user_attr("k", k)
        study.sampler = sampler(settings.study.sampler, seed(settings.study.seed, k, SAMPLER))
        config = settings.config(lab.space.suggest(trial))
        origin = _origin(trial.user_attrs)
        lab.sinks.emit(TrialStarted(trial.number, ordinal, dict(trial.params), origin, settings.budget.kframes))
        ending = run_trial(trial, config, lab, seed(settings.study.seed, k, TRAINER))
        tell(study, trial, ending, settings.study.sampler, time.monotonic() - began)
    except UpdateFinishedTrialError:
        # Somebody ended it from outside, as the dashboard's button does. That is an answer, not an accident.
        ending = Ending("FAIL", reason="ended from outside while it ran")
    except BaseException as why:  # whatever it was, the trial must not stay RUNNING: it is released, and its point comes again
        try:
            release(study, trial.number, _cause(why))
        except MACHINE as more:  # the database itself may be what failed
            if machine_failure(more) is None:
                raise
        lab.sinks.emit(_ended(trial.number, Ending("FAIL", reason=_cause(why)), lab, time.monotonic() - began, False))
        raise
    if lab.device.type == "cuda":
        torch.cuda.empty_cache()  # the next trial's shapes are others, and workers beside this one need the memory, too
    best = best_trial(study)
    is_best = best is not None and best.number == trial.number
    lab.sinks.emit(_ended(trial.number, ending, lab, time.monotonic() - began, is_best))
    if ending.state != "FAIL":
        body = note(study._storage.get_trial(trial._trial_id), settings.budget.kframes)
        save(trial, body, lambda sentence: lab.sinks.emit(Warned(sentence)))


def enqueue_repair(study: optuna.Study, space: Space, deepest: int) -> None:
    """Enqueue the repair that is due, if any, once nothing else waits: recipes and points that come again go before.

    It is decided when the next point is asked for, not when its parent ends, so a study that stopped in between owes it still.
    """
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):
        return
    due = owed(trials, space, deepest)
    if due is not None:
        parent, repair = due
        lineage = {
            "origin": f"repair of trial {parent.number}",
            "k": parent.user_attrs["k"],  # the same seed: only what is named differs
            "repair_of": parent.number,
            "repair_depth": depth(parent) + 1,
            "repair_why": reason(parent),
            "changes": list(repair.changes),
        }
        study.enqueue_trial(repair.params, user_attrs=lineage)


def twin(study: optuna.Study, trial: optuna.Trial) -> bool:
    """Whether another worker enqueued the same repair at the same moment, and first."""
    parent = trial.user_attrs.get("repair_of")
    earlier = study.get_trials(deepcopy=False)[: trial.number] if parent is not None else []
    return any(other.user_attrs.get("repair_of") == parent and other.state != TrialState.FAIL for other in earlier)


def tell(study: optuna.Study, trial: optuna.Trial, ending: Ending, sampler_name: str, seconds: float) -> None:
    """Attributes first, which a finished trial no longer takes, then the state."""
    last, speaking = ending.last, ending.speaking
    shown = ending.best if ending.state == "COMPLETE" else last
    attributes: dict[str, Any] = {
        **(measured(shown) | asdict(shown.health) if shown else {}),
        "seconds": seconds,
        "kframes": last.kframes if last else 0.0,
        "pruned_by": ending.pruned_by,
        "pruned_reason" if ending.pruned_by else "sick_reason": ending.reason,
        **({f"free_{name}": amount for name, amount in asdict(speaking).items()} if speaking else {}),
    }
    for name, amount in attributes.items():
        if amount is not None:
            trial.set_user_attr(name, amount)
    for name, amount in ending.violations.items():
        trial.set_constraint(f"health/{name}", amount)
    # Behind its peers is no illness, and its value says enough; but a COMPLETE trial without a broken constraint could be best.
    if ending.pruned_by is not None and (ending.pruned_by != "peers" or sampler_name == "gp"):
        trial.set_constraint(f"health/{ending.pruned_by}", max(ending.severity, 1e-6))
    if ending.state == "COMPLETE":
        study.tell(trial, ending.value, skip_if_finished=True)
        return
    honest = _last_value(study, trial)
    if sampler_name == "gp" and honest is not None:
        # GPSampler ignores PRUNED. The last honest value and a broken constraint tell it the truth.
        study.tell(trial, honest, skip_if_finished=True)
        return
    study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def release(study: optuna.Study, number: int, why: str) -> None:
    """End a trial that the machine stopped as FAIL, and enqueue its point again if it had one."""
    frozen = study.get_trials(deepcopy=False)[number]
    try:
        study._storage.set_trial_user_attr(frozen._trial_id, "released", why)
        study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:  # somebody else ended it, and enqueued its point
        return
    if point(frozen) and "k" in frozen.user_attrs:
        kept = {name: frozen.user_attrs[name] for name in _KEPT if name in frozen.user_attrs}
        study.enqueue_trial(point(frozen), user_attrs=kept | {"origin": f"again after trial {number}"})


def reclaim(study: optuna.Study, lab: Lab) -> None:
    """Release the trials whose worker died on this machine, and remove the files that it was writing."""
    for trial in orphans(study):
        release(study, trial.number, "its worker died")
        for part in lab.folder(trial.number).glob(".*.part"):
            part.unlink(missing_ok=True)


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for each trial: the point depends on the finished trials and the seed, on nothing carried along."""
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def seed(base: int, k: int, stream: int) -> int:
    return int(np.random.SeedSequence([base, k, stream]).generate_state(1)[0])


def _ordinal(study: optuna.Study, number: int) -> int:
    """The k of a new trial: its number without those that were released and come again, or repair one, under another's k."""
    earlier = study.get_trials(deepcopy=False)[:number]
    return number - sum("released" in trial.user_attrs or "repair_of" in trial.user_attrs for trial in earlier)


def _origin(known: dict[str, Any]) -> str:
    origin = str(known.get("origin", "sampled"))
    return f"{origin}: {', '.join(known['changes'])}" if "repair_of" in known else origin


def _last_value(study: optuna.Study, trial: optuna.Trial) -> float | None:
    frozen: FrozenTrial = study._storage.get_trial(trial._trial_id)
    return None if frozen.last_step is None else frozen.intermediate_values[frozen.last_step]


def _cause(why: BaseException) -> str:
    if isinstance(why, Interrupted | KeyboardInterrupt):
        return "interrupted"
    if sentence := machine_failure(why):
        return sentence
    text = str(why).strip()
    return f"{type(why).__name__}: {text.splitlines()[0]}" if text else type(why).__name__


def _ended(number: int, ending: Ending, lab: Lab, seconds: float, is_best: bool) -> TrialEnded:
    budget = lab.settings.budget.kframes
    kframes = ending.last.kframes if ending.last else 0.0
    return TrialEnded(
        number=number,
        state=ending.state,
        value=ending.value if ending.state == "COMPLETE" else (ending.last.val_loss if ending.last else None),
        reason=ending.reason,
        pruned_by=ending.pruned_by,
        violations=ending.violations,
        seconds=seconds,
        kframes=kframes,
        saved_kframes=budget - kframes if ending.state == "PRUNED" else 0.0,
        folder=lab.folder(number),
        last=ending.best if ending.state == "COMPLETE" else ending.last,
        is_best=is_best,
    )
