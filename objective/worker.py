"""Ask, run, tell: one loop of our own, until the study has the wanted number of finished trials.

COMPLETE is a result, PRUNED a fact about the point, FAIL a fact about the machine. Finished means COMPLETE or PRUNED. The
point of a trial that fails comes again with its ordinal k and goes on from its last snapshot, and the seed of trial k depends
on the study's seed and k alone, so that an interrupted study tries what an undisturbed one would have tried.
"""

import errno
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from objective.board import ENDS, best_of
from objective.data import load_data
from objective.ends import End, Ends
from objective.events import OUTSIDE, TrialEnded, TrialStarted
from objective.failures import MACHINE, machine_failure
from objective.interruption import Interrupted
from objective.lab import Lab
from objective.notes import board, note, save
from objective.queue import fill
from objective.sinks.words import duration
from objective.steer import paused
from objective.trial import Ending, run_trial
from pruners.record import point as measured
from storage.artifacts import publish
from storage.folders import SHOWN
from storage.leases import Lease, gone, owner
from storage.lineage import ancestors, doubled, drop, ordinal, release
from storage.retention import Keep, tidy

PAUSED = "paused: no trial begins until the study is resumed (python -m objective.steer, or Telegram)"
LOOK_S = 0.5  # between two looks at a study whose last trials run beside this worker
FIRST_WAIT_S, LAST_WAIT_S = 5.0, 300.0  # before a worker whose machine failed tries again, by setting
SAMPLER, TRAINER = 0, 1  # two streams of random numbers for each trial


def work(study: optuna.Study, lab: Lab) -> End:
    """Runs trials until the study is done; returns why it stopped. Raises what the machine does, unless it should wait."""
    ends, wait = Ends(study, lab.settings), FIRST_WAIT_S
    while True:
        try:
            trials, beside = reclaim(study, lab)
            lab.interruption.check()
            done = [trial for trial in trials if trial.state in ENDS]
            end = ends.end(done)
            if end is not None:
                return end
            if len(done) + beside >= lab.settings.study.trials:
                lab.interruption.wait(LOOK_S)  # the last ones run already; should one be released, its point is ours
            elif paused(study):
                lab.warn_once(PAUSED)
                lab.interruption.wait(LOOK_S)
            else:
                lab.warned.discard(PAUSED)
                run_one(study, lab, trials, len(done) + beside + 1)
                wait = FIRST_WAIT_S
        except Interrupted as why:
            return _early(lab, str(why))
        except MACHINE as why:
            sentence = machine_failure(why)
            if sentence is None or lab.settings.study.on_failure == "stop":
                raise
            lab.warn(f"{sentence}: tried again in {duration(wait)}")
            lab.interruption.wait(wait)
            if lab.interruption.why is not None:
                return _early(lab, lab.interruption.why)
            wait = min(2 * wait, LAST_WAIT_S)
            if isinstance(why, OSError) and why.errno == errno.EIO:
                load_data(lab.settings.model_copy(update={"quiet": True}))  # what of the mel cache is damaged is made anew


def _early(lab: Lab, why: str) -> End:
    return End(why, 130 if lab.interruption.asked else 0, early=True)


def run_one(study: optuna.Study, lab: Lab, trials: Sequence[FrozenTrial], place: int) -> None:
    """One trial from ask to tell; `trials` are all so far, `place` is its k of "trial k of N"."""
    settings = lab.settings
    fill(study, trials, lab.space, settings.study.recipes, settings.repair.max_per_trial)
    trial = study.ask()
    began = time.monotonic()

    def hung(sentence: str) -> None:
        """In the thread of the lease, the other one being stuck somewhere: there is no cleaner end for this process."""
        print(f"trial {trial.number}: {sentence}: this worker ends", file=sys.stderr, flush=True)
        try:
            release(study, trial.number, sentence, died=True)
        finally:
            os._exit(1)

    try:
        with Lease(study, trial, lab.watch, settings.study.hang_s, hung) as lease:
            ending = _run(study, trial, lab, place, lease)
            if ending is None:
                return
            publish(study, trial._trial_id, [lab.folder(trial.number) / name for name in SHOWN], settings.out)
        tell(study, trial, ending, settings.study.sampler)
    except UpdateFinishedTrialError:
        # Somebody ended it from outside, as the dashboard's button does. That is an answer, not an accident.
        ending = Ending("FAIL", reason=OUTSIDE, seconds=time.monotonic() - began)
    except BaseException as why:  # whatever it was, the trial must not stay RUNNING: it is released, and its point comes again
        ours = machine_failure(why) is None and not isinstance(why, Interrupted | KeyboardInterrupt | SystemExit)
        try:
            release(study, trial.number, _cause(why), died=ours)  # a bug comes back with its point, but not for ever
        except MACHINE as more:  # the database itself may be what failed
            if machine_failure(more) is None:
                raise
        lab.sinks.emit(_ended(trial.number, Ending("FAIL", reason=_cause(why), seconds=time.monotonic() - began), lab, False))
        raise
    _after(study, trial, lab, ending)


def _run(study: optuna.Study, trial: optuna.Trial, lab: Lab, place: int, lease: Lease) -> Ending | None:
    """A trial that was asked for, unless another worker has done so first."""
    settings = lab.settings
    trials = study.get_trials(deepcopy=False)
    if doubled(trials, trial):
        drop(study, trial, "another worker runs the same point")
        return None
    # Numbers are given one after the other: who counts all before him that may still end never makes one too many.
    before = [*(other for other in trials if other.state == TrialState.WAITING), *lab.watch.look(trials)[0]]
    done = sum(other.state in ENDS for other in trials)
    if done + sum(other.number < trial.number for other in before) >= settings.study.trials:
        release(study, trial.number, "another worker runs the last trial")
        return None
    k = trial.user_attrs["k"] if "k" in trial.user_attrs else ordinal(trials, trial.number)
    study.sampler = sampler(settings.study.sampler, seed(settings.study.seed, k, SAMPLER))
    config = settings.config(lab.space.suggest(trial))
    trial.set_user_attr("k", k)  # last: a trial without it has no point yet
    line = [other.number for other in ancestors(trials, trials[trial.number])]
    origin = _origin(trial.user_attrs)
    lab.sinks.emit(TrialStarted(trial.number, place, dict(trial.params), origin, settings.budget.kframes))
    return run_trial(trial, config, lab, seed(settings.study.seed, k, TRAINER), lease, line)


def _after(study: optuna.Study, trial: optuna.Trial, lab: Lab, ending: Ending) -> None:
    """What follows an ending that the study knows of: it is shown, noted, and its snapshots make room."""
    settings = lab.settings
    if lab.device.type == "cuda":
        torch.cuda.empty_cache()  # the next trial's shapes are others, and workers beside this one need the memory, too
    trials = study.get_trials(deepcopy=False)
    best = best_of(trial for trial in trials if trial.state in ENDS)
    is_best = best is not None and best.number == trial.number
    lab.sinks.emit(_ended(trial.number, ending, lab, is_best))
    save(study, note(trials[trial.number], settings.budget.kframes), trial._trial_id)
    save(study, board(trials, settings.study.trials, settings.budget.kframes), version=trial.number + 1)
    made = tidy(trials, settings.folder, Keep.of(settings.disk.top_k, settings.disk.quota_gb, settings.disk.keep_pruned))
    if made.note:
        lab.warn_once(made.note)


def tell(study: optuna.Study, trial: optuna.Trial, ending: Ending, sampler_name: str) -> None:
    """Attributes first, which a finished trial no longer takes, then the state."""
    last, speaking = ending.last, ending.speaking
    shown = ending.best if ending.state == "COMPLETE" else last
    attributes: dict[str, Any] = {
        **(measured(shown) | asdict(shown.health) if shown else {}),
        "seconds": ending.seconds,
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


def reclaim(study: optuna.Study, lab: Lab) -> tuple[list[FrozenTrial], int]:
    """Between two trials: release those whose worker died, and remove what it was writing.

    Returns all trials as they are then, and how many run beside this worker.
    """
    trials = study.get_trials(deepcopy=False)
    alive, dead, mine = lab.watch.look(trials)
    for trial in mine:
        release(study, trial.number, "the database was away when it stopped")
    for trial in dead:
        if release(study, trial.number, "its worker died", died=True) and gone(trial.user_attrs.get("owner", {}), owner()):
            for part in lab.folder(trial.number).glob(".*.part"):
                part.unlink(missing_ok=True)
    return (study.get_trials(deepcopy=False) if dead or mine else trials), len(alive)


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for each trial: the point depends on the finished trials and the seed, on nothing carried along."""
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def seed(base: int, k: int, stream: int) -> int:
    return int(np.random.SeedSequence([base, k, stream]).generate_state(1)[0])


def _origin(known: dict[str, Any]) -> str:
    origin = str(known.get("origin", "sampled"))
    changed = f"{origin}: {', '.join(known['changes'])}" if "repair_of" in known else origin
    return f"{changed}, again after trial {known['again_of']}" if "again_of" in known else changed


def _last_value(study: optuna.Study, trial: optuna.Trial) -> float | None:
    frozen: FrozenTrial = study._storage.get_trial(trial._trial_id)
    return None if frozen.last_step is None else frozen.intermediate_values[frozen.last_step]


def _cause(why: BaseException) -> str:
    if isinstance(why, Interrupted | KeyboardInterrupt):
        return str(why) or "interrupted"
    if sentence := machine_failure(why):
        return sentence
    text = str(why).strip()
    return f"{type(why).__name__}: {text.splitlines()[0]}" if text else type(why).__name__


def _ended(number: int, ending: Ending, lab: Lab, is_best: bool) -> TrialEnded:
    budget = lab.settings.budget.kframes
    kframes = ending.last.kframes if ending.last else 0.0
    return TrialEnded(
        number=number,
        state=ending.state,
        value=ending.value if ending.state == "COMPLETE" else (ending.last.val_loss if ending.last else None),
        reason=ending.reason,
        pruned_by=ending.pruned_by,
        violations=ending.violations,
        seconds=ending.seconds,
        kframes=kframes,
        saved_kframes=budget - kframes if ending.state == "PRUNED" else 0.0,
        folder=lab.folder(number),
        last=ending.best if ending.state == "COMPLETE" else ending.last,
        is_best=is_best,
    )
