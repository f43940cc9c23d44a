"""Run one trial, the only place where Optuna meets training: follow the trainer's reports, then evaluate the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from torch import Tensor

from model import checkpoints
from model.config import Config
from model.memory import out_of_memory
from model.report import Report
from model.snapshot import Snapshot
from model.spoken import FreeRunning
from model.trainer import Trainer
from model.voice import card
from objective.events.types import Phase, Progressed, Reported, Resumed
from objective.trial.alignment_history import AlignmentHistory, copy_history
from objective.trial.checkpoint import TrialHistory, forget, newest
from objective.trial.config_file import write_config
from objective.trial.context import WorkerContext
from objective.trial.judge import due
from objective.trial.plots import curves
from objective.trial.rescue import Rescue, without_undone
from objective.trial.score import better, healthy, misses, value, violations, with_figures
from objective.trial.show import show, write_sentences
from objective.trial.torchrun import Task, build_trainer, leading
from pruners.decision import judge, status
from pruners.health_record import empty
from pruners.thresholds import Targets, Thresholds
from storage.leases import Lease
from storage.optuna_private import stored
from storage.outcome import HEALTHY_AT
from storage.paths import BEST, SENTENCES
from storage.snapshot_writer import SnapshotWriter


@dataclass(slots=True)
class TrialResult:
    """The end of a trial, before it is stored in the study."""

    state: str = "COMPLETE"  # or PRUNED: a fact about this configuration
    value: float | None = None
    reason: str | None = None
    pruned_by: str | None = None
    ended_by: str | None = None  # the rule that ended a trial which holds a healthy snapshot: it is complete
    severity: float = 0.0
    violations: dict[str, float] = field(default_factory=dict)
    last: Report | None = None
    best: Report | None = None
    spoken: FreeRunning | None = None  # by the best snapshot; of a pruned trial by its last weights
    seconds: float = 0.0  # by all workers that ran this configuration


def run_trial(
    trial: optuna.Trial, config: Config, context: WorkerContext, seed: int, lease: Lease, line: Sequence[int]
) -> TrialResult:
    """Train `config` within the budget, or until it is pruned, and evaluate the result.

    `line` are the earlier trials of this configuration, the newest first: training resumes from their newest good snapshot.
    Raises Interrupted, UpdateFinishedTrialError where the trial was ended from outside, and the machine's errors.
    """
    folder = context.folder(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    forget(folder)
    write_config(folder / "config.yaml", trial, config, context, seed)
    data = context.settings.data
    origin = {"study": context.settings.study.name, "trial": trial.number, "licence": data.licence, "data": data.of_a_voice()}
    about = card(config, context.corpus, context.judge.pause_s, **origin)
    configuration = {"params": dict(trial.params), "seed": seed, "study": context.identity}
    history, start = _history(trial, context, configuration, line, about)
    budget, result = context.settings.budget, TrialResult()
    try:
        trainer = build_trainer(Task(config, budget, seed, start), context.data, context.speech, context.group)
        _train(trainer, trial, context, result, lease, history, about)
        result.last, result.best = history.last, history.kept
        dpi = context.settings.pictures.dpi
        curves(folder / "curves.png", history.reports, _levels(context.settings.health), f"trial {trial.number}", dpi)
        kept = result.state == "COMPLETE" and result.best is not None
        if kept or (result.last is not None and result.last.val_loss is not None):  # else there is no speech to evaluate
            _evaluate(trainer, trial.number, context, result)
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
        result.state, result.pruned_by, result.severity = "PRUNED", "out_of_memory", 1.0
        r = config.network.reduction
        result.reason = f"out of memory on {context.device.type} at r = {r}, even with the batch in parts"
    result.seconds = history.seconds
    return result


def _history(
    trial: optuna.Trial, context: WorkerContext, configuration: dict[str, Any], line: Sequence[int], about: dict[str, Any]
) -> tuple[TrialHistory, Snapshot | None]:
    """Return the history so far, empty for a new trial. Reports of an earlier attempt are reported to the study again."""
    found = newest([context.folder(number) for number in line], configuration, context.warn)
    if found is None:
        return TrialHistory(configuration, empty(context.settings.budget.total_kframes)), None
    history, snapshot, folder = found
    copy_history(folder, context.folder(trial.number))
    history.copy_best(folder, context.folder(trial.number), snapshot, about)
    if history.kept is None and snapshot.cursor.frames >= 1_000 * context.settings.budget.total_kframes:
        context.warn(f"trial {trial.number} restarts: the weights of its best report are damaged, and no report is to come")
        return TrialHistory(configuration, empty(context.settings.budget.total_kframes)), None
    trial.set_user_attr("from_kframes", snapshot.cursor.frames / 1_000)
    for report in history.reports:
        _report_value(trial, report, context.settings.objective.score)
    trial.set_user_attr("health", history.record)
    _note_healthy(trial, history, context.settings.health.targets)
    context.sinks.emit(Resumed(trial.number, line[0], snapshot.cursor.frames / 1_000, tuple(history.reports)))
    return history, snapshot


def _train(
    trainer: Trainer,
    trial: optuna.Trial,
    context: WorkerContext,
    result: TrialResult,
    lease: Lease,
    history: TrialHistory,
    about: dict[str, Any],
) -> None:
    """Consume the trainer's reports: record and show them, keep snapshots, stop where the pruner decides to."""
    folder, every = context.folder(trial.number), context.settings.budget.snapshot_kframes
    kept, score, targets = trainer.cursor.frames / 1_000, context.settings.objective.score, context.settings.health.targets
    rescue = _rescue(trainer, history, context, folder)
    with SnapshotWriter() as writer, leading(trainer, context.group) as steps, AlignmentHistory(trainer, folder) as alignments:
        if rescue is None and history.last is not None and _stopped(trial, history.last, history, context, result):
            return  # it was pruned at this report before, and its worker died before that was stored
        for report in steps:
            kframes = trainer.cursor.frames / 1_000
            lease.progressed(kframes)
            for remark in trainer.remarks:
                context.warn_once(remark)
            if report is None:
                context.sinks.emit(Progressed(trial.number, kframes, trainer.cursor.updates))
            else:
                report, weights = _judged(report, trainer, history, context)
                is_best = better(report, history.kept, score, targets)
                history.add(report)
                if is_best:
                    history.best = len(history.reports) - 1
                    history.hold_best(weights)
                    _note_healthy(trial, history, targets)
                alignments.add(report)
                _report(trial, report, history, context)
            if rescue is not None:
                stopped = _ended(rescue, rescue.check(trainer, report, history.record), trainer, history, context, result)
            else:
                stopped = report is not None and _stopped(trial, report, history, context, result)
            stop = context.interruption.reason
            if stop is not None:
                context.sinks.emit(Phase(trial.number, f"stopping: saving its snapshot ({stop})", stopping=True))
            save = (report is not None and writer.due()) if every is None else kframes // every > kept // every
            unwritten = (stopped and history.held is not None) or trainer.cursor.mark == trainer.grid
            if save or unwritten or stop is not None:
                writer.write(history.files(folder, trainer.snapshot(), about))
                kept = kframes
                if every is not None:
                    writer.wait()  # no kill may cost more than this interval
            if stopped:
                return
            context.interruption.check()


def _note_healthy(trial: optuna.Trial, history: TrialHistory, targets: Targets) -> None:
    """Tell the pruner that the trial holds a healthy snapshot: whatever stops it now, it ends as complete."""
    if history.kept is not None and healthy(history.kept, targets):
        trial.set_user_attr(HEALTHY_AT, history.kept.kframes)


def _rescue(trainer: Trainer, history: TrialHistory, context: WorkerContext, folder: Path) -> Rescue | None:
    """Return what repairs this training while it runs; None for a trial of a search, and where several ranks train."""
    most, train = context.settings.rescue.rollbacks, context.corpus.train
    if not most or context.group is not None:
        return None
    window = context.settings.health.stagnation.window_share
    rescue = Rescue(most, context.rules, folder, lambda index: train[index].id, context.warn, history.actions, window)
    rescue.begin(trainer, history.record)
    return rescue


def _judged(
    report: Report, trainer: Trainer, history: TrialHistory, context: WorkerContext
) -> tuple[Report, dict[str, Tensor]]:
    """Add free-running figures at a judged report; return it with the weights, last or averaged, of the lower value."""
    weights = trainer.network.state_dict()
    reports, kframes = context.settings.budget.reports, context.settings.budget.total_kframes
    before = 0 if history.last is None else round(history.last.kframes * reports / kframes)
    if report.val_loss is None or not due(trainer.cursor.mark, before, kframes, reports, context.judge.frames):
        return report, weights
    report = with_figures(report, context.judge(trainer.network, trainer.release)[1])
    if trainer.average is None:
        return report, weights
    with trainer.average.applied():
        averaged = with_figures(report, context.judge(trainer.network, trainer.release)[1])
    score, targets = context.settings.objective.score, context.settings.health.targets
    return (averaged, trainer.average.weights) if better(averaged, report, score, targets) else (report, weights)


def _report(trial: optuna.Trial, report: Report, history: TrialHistory, context: WorkerContext) -> None:
    """Report to the study and to the displays."""
    trial.set_user_attr("health", history.record)
    _report_value(trial, report, context.settings.objective.score)
    found = judge(history.record, context.rules)
    context.sinks.emit(Reported(trial.number, report, status(found), tuple(decision.evidence for decision in found)))


def _report_value(trial: optuna.Trial, report: Report, score: str) -> None:
    """Report a trial's value so far to Optuna, where this report has it."""
    amount = report.val_loss if score == "loss" else value(score, report)
    if amount is not None:
        trial.report(amount, round(report.kframes))


def _stopped(trial: optuna.Trial, report: Report, history: TrialHistory, context: WorkerContext, result: TrialResult) -> bool:
    """Return whether the trial ends at this report; the reason is put into `result`."""
    kept = _healthy(history, context)
    if trial.should_prune():
        attributes, end = stored(trial).user_attrs, "pruned" if kept is None else "ended"
        rule, reason, severity = (attributes[f"{end}_{name}"] for name in ("by", "reason", "severity"))
        if rule == "nonfinite" and report.gradients.culprit:
            reason += f"; the first term that was not: {report.gradients.culprit}"
    elif report.val_loss is None:  # with any pruner, or none: there is nothing to continue with
        worst = judge(history.record, context.rules)[0]
        rule, reason, severity = worst.rule, worst.evidence, worst.severity
    else:
        return False
    _end(result, kept, rule, reason, severity)
    return True


def _ended(
    rescue: Rescue, diagnosis: str | None, trainer: Trainer, history: TrialHistory, context: WorkerContext, result: TrialResult
) -> bool:
    """Return whether a training that could not be repaired ends, with its last good weights; `result` gets the diagnosis."""
    if diagnosis is None:
        return False
    rescue.restore(trainer)
    known = without_undone(history.record, history.actions)["kframes"]
    good = [place for place, one in enumerate(history.reports) if one.kframes <= rescue.stable_kframes and one.kframes in known]
    if history.best is None and good:  # nothing was judged before
        history.best = good[-1]
        history.hold_best(trainer.network.state_dict())
    _end(result, _healthy(history, context), "diverged", diagnosis, 1.0)
    return True


def _healthy(history: TrialHistory, context: WorkerContext) -> Report | None:
    """Return the report of the best snapshot, if that is healthy."""
    return history.kept if healthy(history.kept, context.settings.health.targets) else None


def _end(result: TrialResult, kept: Report | None, rule: str, reason: str, severity: float) -> None:
    """Put the end of a stopped trial into `result`: complete where it holds the healthy snapshot of `kept`, else pruned."""
    if kept is not None:
        result.ended_by = rule
        result.reason = f"ended by {rule}, keeping its healthy snapshot of {kept.kframes:.4g} kframes: {reason}"
    else:
        result.state, result.pruned_by, result.reason, result.severity = "PRUNED", rule, reason, severity


def _evaluate(trainer: Trainer, number: int, context: WorkerContext, result: TrialResult) -> None:
    """Judge and show the network: a complete trial's best snapshot, which gives its value; a pruned one as it is."""
    folder, settings, targets = context.folder(number), context.settings, context.settings.health.targets
    if result.state == "COMPLETE" and result.best is not None:
        trainer.network.load_state_dict(checkpoints.load(folder / BEST)["weights"])
    context.sinks.emit(Phase(number, f"evaluating: synthesising {len(context.judge.sentences)} sentences"))
    output, result.spoken = context.judge(trainer.network, trainer.release)
    if result.spoken is None:
        result.state, result.pruned_by, result.severity = "PRUNED", result.pruned_by or "nonfinite", result.severity or 1.0
        result.reason = result.reason or "the free-running synthesis is not finite"
        return
    if result.state == "COMPLETE" and result.best is not None:
        result.value = value(settings.objective.score, result.best)
        result.violations = violations(result.best, targets)
        result.reason = result.reason or misses(result.violations, result.best, targets) or None
    context.sinks.emit(Phase(number, "evaluating: drawing and writing the samples"))
    write_sentences(folder / SENTENCES, result.spoken)
    show(folder, output, context.judge, settings.audio, f"trial {number}", settings.pictures.dpi)


def _levels(levels: Thresholds) -> dict[str, tuple[float, float]]:
    """Return the levels that are drawn into the learning curves."""
    drawn = ("grad_norm", "diagonality", "reading", "gate_accuracy")
    return {name: (getattr(levels, name).warn, getattr(levels, name).critical) for name in drawn}
