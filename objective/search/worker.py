"""Run trials until the study has the wanted number of finished ones: a loop around Optuna's ask-and-tell interface.

A trial is COMPLETE with a result, PRUNED because of its configuration, or FAIL because of the machine. Finished means COMPLETE
or PRUNED. The configuration of a failed trial is retried: with the same ordinal k, resuming from the last snapshot. The seed of
trial k depends on the study's seed and k alone, so an interrupted study tries the same configurations as an undisturbed one.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
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
from objective.runtime.errors import MACHINE, cause, gpu_failure, machine_failure
from objective.runtime.signals import Interrupted
from objective.search.control import paused
from objective.search.enqueue import enqueue_next
from objective.search.stopping import StoppingRules, StopReason
from objective.trial.context import WorkerContext
from objective.trial.corpus import load_data
from objective.trial.run import TrialResult, run_trial
from pruners.alignment import nobody_aligned
from pruners.health_record import FREE_SIGNALS, measurements
from storage.artifacts import publish
from storage.leases import Lease, gone, owner
from storage.lineage import ancestors, discard, is_duplicate, ordinal, release
from storage.optuna_private import stored
from storage.outcome import ENDED_OUTSIDE, best_of, is_finished
from storage.paths import ARTIFACT_FILES
from storage.retention import Keep, tidy

PAUSED = f"paused: no trial starts until the study is resumed ({typed_name('steer')} resume, or Telegram)"
POLL_S = 0.5  # between two checks of a study that is paused or whose last trials are run by other workers
FIRST_WAIT_S, LAST_WAIT_S = 5.0, 300.0  # before a worker retries after its machine failed (study.on_failure=wait), doubling
SAMPLER, TRAINER = 0, 1  # the two random streams of a trial
UNALIGNED = "unaligned"  # attribute of a study in which no trial had aligned: what it said


def work(study: optuna.Study, context: WorkerContext) -> StopReason:
    """Run trials until the study ends; return why. Raises the machine's errors, unless study.on_failure is "wait"."""
    rules, wait = StoppingRules(study, context.settings), FIRST_WAIT_S
    while True:
        try:
            trials, others = reclaim(study, context)
            context.interruption.check()
            done = [trial for trial in trials if is_finished(trial)]
            end = rules.check(done)
            if end is not None:
                return end
            if len(done) + others >= context.settings.study.trials:
                context.interruption.wait(POLL_S)  # others run the last trials; if one is released, this worker retries it
            elif paused(study):
                context.warn_once(PAUSED)
                context.interruption.wait(POLL_S)
            else:
                context.warned.discard(PAUSED)
                run_one(study, context, trials, len(done) + others + 1)
                wait = FIRST_WAIT_S
        except Interrupted as why:
            return _stopped_early(context, str(why))
        except MACHINE as why:
            sentence = machine_failure(why)
            if sentence is None or gpu_failure(why) or context.settings.study.on_failure == "stop":
                raise  # a process whose GPU failed cannot use it again
            context.warn(f"{sentence}: retrying in {duration(wait)}")
            context.interruption.wait(wait)
            if context.interruption.reason is not None:
                return _stopped_early(context, context.interruption.reason)
            wait = min(2 * wait, LAST_WAIT_S)
            if isinstance(why, OSError) and why.errno == errno.EIO:
                load_data(context.settings.model_copy(update={"quiet": True}))  # which rebuilds damaged parts of the mel cache


def _stopped_early(context: WorkerContext, reason: str) -> StopReason:
    return StopReason(reason, 130 if context.interruption.requested else 0, early=True)


def run_one(study: optuna.Study, context: WorkerContext, trials: Sequence[FrozenTrial], position: int) -> None:
    """Run one trial from ask to tell. `trials` are all trials so far; `position` is the n of "trial n of N"."""
    settings = context.settings
    waits = enqueue_next(study, trials, context.space, settings.study.recipes, settings.repair.max_per_trial)
    trial = study.ask()
    began = time.monotonic()

    def on_hang(sentence: str) -> None:
        """Release the trial and end this process. Runs in the lease's thread, since the main thread is stuck."""
        print(f"trial {trial.number}: {sentence}: this worker ends", file=sys.stderr, flush=True)
        try:
            release(study, trial.number, sentence, died=True)
        finally:
            os._exit(1)

    try:
        with Lease(study, trial, context.watch, settings.study.hang_s, on_hang) as lease:
            result = _run(study, trial, context, position, lease, waits)
            if result is None:
                return
            publish(study, trial, [context.folder(trial.number) / name for name in ARTIFACT_FILES], settings.out)
        tell(study, trial, result, settings.study.sampler)
    except UpdateFinishedTrialError:
        # Ended from outside, for example with the dashboard's button: a request, not a failure.
        result = TrialResult("FAIL", reason=ENDED_OUTSIDE, seconds=time.monotonic() - began)
    except BaseException as why:  # whatever happened, the trial must not stay RUNNING: it is released and retried
        bug = machine_failure(why) is None and not isinstance(why, Interrupted | KeyboardInterrupt | SystemExit)
        try:
            release(study, trial.number, cause(why), died=bug)  # counted as a death, so a bug is not retried for ever
        except MACHINE as failure:  # it may be the database that failed
            if machine_failure(failure) is None:
                raise
        failed = TrialResult("FAIL", reason=cause(why), seconds=time.monotonic() - began)
        context.sinks.emit(_ended(trial.number, failed, None, context, False))
        raise
    _conclude(study, trial, context, result)


def _run(
    study: optuna.Study, trial: optuna.Trial, context: WorkerContext, position: int, lease: Lease, waits: bool
) -> TrialResult | None:
    """Run a trial that was just taken. None where another worker has taken its configuration or the last place first.

    `waits`: a configuration was enqueued for it, so that the sampler is not to propose one.
    """
    settings = context.settings
    trials = study.get_trials(deepcopy=False)
    if is_duplicate(trials, trial):
        discard(study, trial, "another worker runs the same configuration")
        return None
    if waits and "fixed_params" not in trials[trial.number].system_attrs:
        discard(study, trial, "another worker took the configuration that waited")
        return None
    # Trial numbers are consecutive, so a worker that counts all unfinished trials with lower numbers never runs one too many.
    before = [*(other for other in trials if other.state == TrialState.WAITING), *context.watch.classify(trials)[0]]
    done = sum(is_finished(other) for other in trials)
    if done + sum(other.number < trial.number for other in before) >= settings.study.trials:
        release(study, trial.number, "another worker runs the last trial")
        return None
    k = trial.user_attrs["k"] if "k" in trial.user_attrs else ordinal(trials, trial.number)
    study.sampler = sampler(settings.study.sampler, seed(settings.study.seed, k, SAMPLER))
    config = settings.config(context.space.suggest(trial))
    if context.device.type == "cuda":
        trial.set_user_attr("device", "; ".join(context.data.abilities.notes))
    trial.set_user_attr("k", k)  # last: a trial without it has no parameters yet
    line = [other.number for other in ancestors(trials, trials[trial.number])]
    context.sinks.emit(
        TrialStarted(
            number=trial.number,
            ordinal=position,
            params=dict(trial.params),
            origin=_origin(trial.user_attrs),
            budget_kframes=settings.budget.total_kframes,
            finished=done,
            changes=tuple(trial.user_attrs.get("changes", ())),
        )
    )
    return run_trial(trial, config, context, seed(settings.study.seed, k, TRAINER), lease, line)


def _conclude(study: optuna.Study, trial: optuna.Trial, context: WorkerContext, result: TrialResult) -> None:
    """Show the result of an ended trial, write its notes, and delete snapshots that are no longer needed."""
    settings = context.settings
    if context.device.type == "cuda":
        torch.cuda.empty_cache()  # the next trial has other shapes, and other workers need the memory
    trials = study.get_trials(deepcopy=False)
    best = best_of(trial for trial in trials if is_finished(trial))
    is_best = best is not None and best.number == trial.number
    context.sinks.emit(_ended(trial.number, result, trials[trial.number].value, context, is_best))
    save(study, note(trials[trial.number], settings.budget.total_kframes), trial)
    save(study, board(trials, settings.study.trials, settings.budget.total_kframes), version=trial.number + 1)
    plan = tidy(trials, settings.folder, Keep.of(settings.disk.top_k, settings.disk.quota_gb, settings.disk.keep_pruned))
    if plan.note:
        context.warn_once(plan.note)
    warn_if_nobody_aligned(study, trials, settings.study.unaligned, context.warn)


def warn_if_nobody_aligned(study: optuna.Study, trials: Sequence[FrozenTrial], least: int, warn: Callable[[str], None]) -> None:
    """Warn where no trial has aligned though `least` had the time to; once in a study, whichever worker does it."""
    sentence = nobody_aligned(trials, least)
    if sentence is not None and UNALIGNED not in study.user_attrs:
        study.set_user_attr(UNALIGNED, sentence)
        warn(sentence)


def tell(study: optuna.Study, trial: optuna.Trial, result: TrialResult, sampler_name: str) -> None:
    """Store the result of a trial: first its attributes, which a finished trial no longer accepts, then its state."""
    last = result.last
    shown = result.best if result.state == "COMPLETE" else last
    attributes: dict[str, Any] = {
        **({name: amount for name, amount in measurements(shown).items() if name not in FREE_SIGNALS} if shown else {}),
        **(asdict(shown.health) if shown else {}),
        "seconds": result.seconds,
        "kframes": last.kframes if last else 0.0,
        "pruned_by": result.pruned_by,
        "ended_by": result.ended_by,
        "pruned_reason" if result.pruned_by else "ended_reason" if result.ended_by else "sick_reason": result.reason,
        **({f"free_{name}": amount for name, amount in result.spoken.summary().items()} if result.spoken else {}),
    }
    for name, amount in attributes.items():
        if amount is not None:
            trial.set_user_attr(name, amount)
    for name, amount in result.violations.items():
        trial.set_constraint(f"health/{name}", amount)
    # A trial that is only behind its peers is not sick, and its value shows it. But for GPSampler it is stored as COMPLETE
    # (below), and without a broken constraint it could become the best trial.
    if result.pruned_by is not None and (result.pruned_by != "peers" or sampler_name == "gp"):
        trial.set_constraint(f"health/{result.pruned_by}", max(result.severity, 1e-6))
    if result.state == "COMPLETE":
        study.tell(trial, result.value, skip_if_finished=True)
        return
    last_value = _last_value(trial)
    if sampler_name == "gp" and last_value is not None:
        # GPSampler ignores PRUNED trials, so it receives the last reported value and a broken constraint instead.
        study.tell(trial, last_value, skip_if_finished=True)
        return
    study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def reclaim(study: optuna.Study, context: WorkerContext) -> tuple[list[FrozenTrial], int]:
    """Release trials whose worker died, and remove their unfinished writes. Called between two trials.

    Returns all trials as they are afterwards, and how many of them are run by other workers.
    """
    trials = study.get_trials(deepcopy=False)
    alive, dead, own = context.watch.classify(trials)
    for trial in own:
        release(study, trial.number, "the database was unreachable when it stopped")
    for trial in dead:
        if release(study, trial.number, "its worker died", died=True) and gone(trial.user_attrs.get("owner", {}), owner()):
            for part in context.folder(trial.number).glob(".*.part"):
                part.unlink(missing_ok=True)
    return (study.get_trials(deepcopy=False) if dead or own else trials), len(alive)


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return a new sampler for one trial, so that its configuration depends on the finished trials and the seed alone."""
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def seed(base: int, k: int, stream: int) -> int:
    """Return the seed of a random stream (SAMPLER or TRAINER) of trial k in a study with the seed `base`."""
    return int(np.random.SeedSequence([base, k, stream]).generate_state(1)[0])


def _origin(attributes: dict[str, Any]) -> str:
    origin = str(attributes.get("origin", "sampled"))
    changed = f"{origin}: {', '.join(attributes['changes'])}" if "repair_of" in attributes else origin
    return f"{changed}, again after trial {attributes['again_of']}" if "again_of" in attributes else changed


def _last_value(trial: optuna.Trial) -> float | None:
    frozen = stored(trial)
    return None if frozen.last_step is None else frozen.intermediate_values[frozen.last_step]


def _ended(number: int, result: TrialResult, value: float | None, context: WorkerContext, is_best: bool) -> TrialEnded:
    """Return the event of an ended trial. value: as the study has stored it; of a pruned trial the last one reported."""
    budget = context.settings.budget.total_kframes
    kframes = result.last.kframes if result.last else 0.0
    return TrialEnded(
        number=number,
        state=result.state,
        value=value,
        reason=result.reason,
        pruned_by=result.pruned_by,
        violations=result.violations,
        seconds=result.seconds,
        kframes=kframes,
        saved_kframes=budget - kframes if result.pruned_by or result.ended_by else 0.0,
        folder=context.folder(number),
        last=result.best if result.state == "COMPLETE" else result.last,
        is_best=is_best,
        severity=result.severity,
        spoken=result.spoken.summary() if result.spoken else {},
    )
