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

from objective.display.formatting import duration
from objective.display.notes import board, note, save
from objective.events.types import TrialEnded, TrialStarted
from objective.runtime.cli import typed_name
from objective.runtime.errors import MACHINE, machine_failure
from objective.runtime.signals import Interrupted
from objective.search.control import paused
from objective.search.enqueue import fill
from objective.search.stopping import StoppingRules, StopReason
from objective.trial.context import WorkerContext
from objective.trial.corpus import load_data
from objective.trial.run import TrialResult, run_trial
from pruners.health_record import point as measured
from storage.artifacts import publish
from storage.leases import Lease, gone, owner
from storage.lineage import ancestors, doubled, drop, ordinal, release
from storage.optuna_private import stored
from storage.outcome import ENDED_OUTSIDE, best_of, is_finished
from storage.paths import ARTIFACT_FILES
from storage.retention import Keep, tidy

PAUSED = f"paused: no trial starts until the study is resumed ({typed_name('steer')} resume, or Telegram)"
LOOK_S = 0.5  # between two looks at a study whose last trials run beside this worker
FIRST_WAIT_S, LAST_WAIT_S = 5.0, 300.0  # before a worker whose machine failed tries again, by setting
SAMPLER, TRAINER = 0, 1  # two streams of random numbers for each trial


def work(study: optuna.Study, context: WorkerContext) -> StopReason:
    """Runs trials until the study is done; returns why it stopped. Raises what the machine does, unless it should wait."""
    ends, wait = StoppingRules(study, context.settings), FIRST_WAIT_S
    while True:
        try:
            trials, beside = reclaim(study, context)
            context.interruption.check()
            done = [trial for trial in trials if is_finished(trial)]
            end = ends.end(done)
            if end is not None:
                return end
            if len(done) + beside >= context.settings.study.trials:
                context.interruption.wait(LOOK_S)  # the last ones run already; should one be released, its point is ours
            elif paused(study):
                context.warn_once(PAUSED)
                context.interruption.wait(LOOK_S)
            else:
                context.warned.discard(PAUSED)
                run_one(study, context, trials, len(done) + beside + 1)
                wait = FIRST_WAIT_S
        except Interrupted as why:
            return _early(context, str(why))
        except MACHINE as why:
            sentence = machine_failure(why)
            if sentence is None or context.settings.study.on_failure == "stop":
                raise
            context.warn(f"{sentence}: tried again in {duration(wait)}")
            context.interruption.wait(wait)
            if context.interruption.why is not None:
                return _early(context, context.interruption.why)
            wait = min(2 * wait, LAST_WAIT_S)
            if isinstance(why, OSError) and why.errno == errno.EIO:
                load_data(context.settings.model_copy(update={"quiet": True}))  # what of the mel cache is damaged is made anew


def _early(context: WorkerContext, why: str) -> StopReason:
    return StopReason(why, 130 if context.interruption.asked else 0, early=True)


def run_one(study: optuna.Study, context: WorkerContext, trials: Sequence[FrozenTrial], place: int) -> None:
    """One trial from ask to tell; `trials` are all so far, `place` is its k of "trial k of N"."""
    settings = context.settings
    fill(study, trials, context.space, settings.study.recipes, settings.repair.max_per_trial)
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
        with Lease(study, trial, context.watch, settings.study.hang_s, hung) as lease:
            result = _run(study, trial, context, place, lease)
            if result is None:
                return
            publish(study, trial, [context.folder(trial.number) / name for name in ARTIFACT_FILES], settings.out)
        tell(study, trial, result, settings.study.sampler)
    except UpdateFinishedTrialError:
        # Somebody ended it from outside, as the dashboard's button does. That is an answer, not an accident.
        result = TrialResult("FAIL", reason=ENDED_OUTSIDE, seconds=time.monotonic() - began)
    except BaseException as why:  # whatever it was, the trial must not stay RUNNING: it is released, and its point comes again
        ours = machine_failure(why) is None and not isinstance(why, Interrupted | KeyboardInterrupt | SystemExit)
        try:
            release(study, trial.number, _cause(why), died=ours)  # a bug comes back with its point, but not for ever
        except MACHINE as more:  # the database itself may be what failed
            if machine_failure(more) is None:
                raise
        context.sinks.emit(
            _ended(trial.number, TrialResult("FAIL", reason=_cause(why), seconds=time.monotonic() - began), context, False)
        )
        raise
    _after(study, trial, context, result)


def _run(study: optuna.Study, trial: optuna.Trial, context: WorkerContext, place: int, lease: Lease) -> TrialResult | None:
    """A trial that was asked for, unless another worker has done so first."""
    settings = context.settings
    trials = study.get_trials(deepcopy=False)
    if doubled(trials, trial):
        drop(study, trial, "another worker runs the same point")
        return None
    # Numbers are given one after the other: who counts all before him that may still end never makes one too many.
    before = [*(other for other in trials if other.state == TrialState.WAITING), *context.watch.look(trials)[0]]
    done = sum(is_finished(other) for other in trials)
    if done + sum(other.number < trial.number for other in before) >= settings.study.trials:
        release(study, trial.number, "another worker runs the last trial")
        return None
    k = trial.user_attrs["k"] if "k" in trial.user_attrs else ordinal(trials, trial.number)
    study.sampler = sampler(settings.study.sampler, seed(settings.study.seed, k, SAMPLER))
    config = settings.config(context.space.suggest(trial))
    trial.set_user_attr("k", k)  # last: a trial without it has no point yet
    line = [other.number for other in ancestors(trials, trials[trial.number])]
    origin = _origin(trial.user_attrs)
    changes = tuple(trial.user_attrs.get("changes", ()))
    context.sinks.emit(TrialStarted(trial.number, place, dict(trial.params), origin, settings.budget.kframes, done, changes))
    return run_trial(trial, config, context, seed(settings.study.seed, k, TRAINER), lease, line)


def _after(study: optuna.Study, trial: optuna.Trial, context: WorkerContext, result: TrialResult) -> None:
    """What follows an result that the study knows of: it is shown, noted, and its snapshots make room."""
    settings = context.settings
    if context.device.type == "cuda":
        torch.cuda.empty_cache()  # the next trial's shapes are others, and workers beside this one need the memory, too
    trials = study.get_trials(deepcopy=False)
    best = best_of(trial for trial in trials if is_finished(trial))
    is_best = best is not None and best.number == trial.number
    context.sinks.emit(_ended(trial.number, result, context, is_best))
    save(study, note(trials[trial.number], settings.budget.kframes), trial)
    save(study, board(trials, settings.study.trials, settings.budget.kframes), version=trial.number + 1)
    made = tidy(trials, settings.folder, Keep.of(settings.disk.top_k, settings.disk.quota_gb, settings.disk.keep_pruned))
    if made.note:
        context.warn_once(made.note)


def tell(study: optuna.Study, trial: optuna.Trial, result: TrialResult, sampler_name: str) -> None:
    """Attributes first, which a finished trial no longer takes, then the state."""
    last, free_running = result.last, result.free_running
    shown = result.best if result.state == "COMPLETE" else last
    attributes: dict[str, Any] = {
        **(measured(shown) | asdict(shown.health) if shown else {}),
        "seconds": result.seconds,
        "kframes": last.kframes if last else 0.0,
        "pruned_by": result.pruned_by,
        "pruned_reason" if result.pruned_by else "sick_reason": result.reason,
        **({f"free_{name}": amount for name, amount in asdict(free_running).items()} if free_running else {}),
    }
    for name, amount in attributes.items():
        if amount is not None:
            trial.set_user_attr(name, amount)
    for name, amount in result.violations.items():
        trial.set_constraint(f"health/{name}", amount)
    # Behind its peers is no illness, and its value says enough; but a COMPLETE trial without a broken constraint could be best.
    if result.pruned_by is not None and (result.pruned_by != "peers" or sampler_name == "gp"):
        trial.set_constraint(f"health/{result.pruned_by}", max(result.severity, 1e-6))
    if result.state == "COMPLETE":
        study.tell(trial, result.value, skip_if_finished=True)
        return
    honest = _last_value(trial)
    if sampler_name == "gp" and honest is not None:
        # GPSampler ignores PRUNED. The last honest value and a broken constraint tell it the truth.
        study.tell(trial, honest, skip_if_finished=True)
        return
    study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def reclaim(study: optuna.Study, context: WorkerContext) -> tuple[list[FrozenTrial], int]:
    """Between two trials: release those whose worker died, and remove what it was writing.

    Returns all trials as they are then, and how many run beside this worker.
    """
    trials = study.get_trials(deepcopy=False)
    alive, dead, mine = context.watch.look(trials)
    for trial in mine:
        release(study, trial.number, "the database was away when it stopped")
    for trial in dead:
        if release(study, trial.number, "its worker died", died=True) and gone(trial.user_attrs.get("owner", {}), owner()):
            for part in context.folder(trial.number).glob(".*.part"):
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


def _last_value(trial: optuna.Trial) -> float | None:
    frozen = stored(trial)
    return None if frozen.last_step is None else frozen.intermediate_values[frozen.last_step]


def _cause(why: BaseException) -> str:
    if isinstance(why, Interrupted | KeyboardInterrupt):
        return str(why) or "interrupted"
    if sentence := machine_failure(why):
        return sentence
    text = str(why).strip()
    return f"{type(why).__name__}: {text.splitlines()[0]}" if text else type(why).__name__


def _ended(number: int, result: TrialResult, context: WorkerContext, is_best: bool) -> TrialEnded:
    budget = context.settings.budget.kframes
    kframes = result.last.kframes if result.last else 0.0
    return TrialEnded(
        number=number,
        state=result.state,
        value=result.value if result.state == "COMPLETE" else (result.last.val_loss if result.last else None),
        reason=result.reason,
        pruned_by=result.pruned_by,
        violations=result.violations,
        seconds=result.seconds,
        kframes=kframes,
        saved_kframes=budget - kframes if result.state == "PRUNED" else 0.0,
        folder=context.folder(number),
        last=result.best if result.state == "COMPLETE" else result.last,
        is_best=is_best,
        severity=result.severity,
    )
