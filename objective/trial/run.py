"""One trial: the only place where Optuna meets training. It follows the trainer's reports and says how the trial ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml

from model.config import Config
from model.files import atomic_write
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Trainer, out_of_memory
from objective.events.types import Progressed, Reported, Resumed
from objective.trial.checkpoint import TrialHistory, forget, newest
from objective.trial.context import WorkerContext
from objective.trial.evaluation import sentences, show, speak
from objective.trial.plots import curves
from objective.trial.score import FreeRunning, better, misses, value, violations
from objective.trial.torchrun import Task, built, led
from pruners.health_record import empty
from pruners.rules import judge, status
from pruners.thresholds import Levels
from storage import checkpoints
from storage.leases import Lease
from storage.paths import BEST


@dataclass(slots=True)
class TrialResult:
    """How a trial ended, before the study is told."""

    state: str = "COMPLETE"  # or PRUNED: a fact about this point
    value: float | None = None
    reason: str | None = None
    pruned_by: str | None = None
    severity: float = 0.0
    violations: dict[str, float] = field(default_factory=dict)
    last: Report | None = None
    best: Report | None = None
    free_running: FreeRunning | None = None
    seconds: float = 0.0  # of all workers that this point had


def run_trial(
    trial: optuna.Trial, config: Config, context: WorkerContext, seed: int, lease: Lease, line: Sequence[int]
) -> TrialResult:
    """Train `config` within the budget, or until a pruner says why not.

    `line` are the trials whose point this one is again, the newest first: it goes on from the newest good snapshot of theirs.
    Raises Interrupted, UpdateFinishedTrialError where somebody else ended the trial, and whatever the machine does.
    """
    folder = context.folder(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    forget(folder)
    _write_config(folder / "config.yaml", trial, config, context, seed)
    alphabet = {"symbols": list(context.speech.symbols)}  # a file of weights says what they are for
    history, start = _taken_up(
        trial, context, {"params": dict(trial.params), "seed": seed, "study": context.identity}, line, alphabet
    )
    budget, result = context.settings.budget, TrialResult()
    try:
        trainer = built(Task(config, budget, seed, start), context.data, context.speech, context.group)
        _follow(trainer, trial, context, result, lease, history, alphabet)
        result.last, result.best = history.last, history.kept
        curves(folder / "curves.png", history.reports, _levels(context.settings.health), f"trial {trial.number}")
        if result.last is not None and result.last.val_loss is not None:  # a network that says NaN says nothing
            _finish(trainer, trial.number, context, result)
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
        result.state, result.pruned_by, result.severity = "PRUNED", "out_of_memory", 1.0
        r = config.network.reduction
        result.reason = f"out of memory on {context.device.type} at r = {r}, even with the batch in parts"
    result.seconds = history.seconds
    return result


def _taken_up(
    trial: optuna.Trial, context: WorkerContext, point: dict[str, Any], line: Sequence[int], alphabet: dict[str, Any]
) -> tuple[TrialHistory, Snapshot | None]:
    """The trial's history so far, empty for a new one. Reports of an earlier attempt are reported to the study again."""
    found = newest([context.folder(number) for number in line], point, context.warn)
    if found is None:
        return TrialHistory(point, empty(context.settings.budget.kframes)), None
    history, snapshot, folder = found
    history.bring_best(folder, context.folder(trial.number), snapshot, alphabet)
    if history.kept is None and snapshot.cursor.frames >= 1_000 * context.settings.budget.kframes:
        context.warn(f"trial {trial.number} begins again: the weights of its best report are damaged, and no report is to come")
        return TrialHistory(point, empty(context.settings.budget.kframes)), None
    trial.set_user_attr("from_kframes", snapshot.cursor.frames / 1_000)
    for report in history.reports:
        if report.val_loss is not None:
            trial.report(report.val_loss, round(report.kframes))
    trial.set_user_attr("health", history.record)
    context.sinks.emit(Resumed(trial.number, line[0], snapshot.cursor.frames / 1_000, tuple(history.reports)))
    return history, snapshot


def _follow(
    trainer: Trainer,
    trial: optuna.Trial,
    context: WorkerContext,
    result: TrialResult,
    lease: Lease,
    history: TrialHistory,
    alphabet: dict[str, Any],
) -> None:
    """Consume the trainer's reports: record, show, keep snapshots, ask the pruner."""
    folder, every = context.folder(trial.number), context.settings.budget.snapshot_kframes
    kept = trainer.cursor.frames / 1_000
    with led(trainer, context.group) as steps:
        if history.last is not None and _stopped(trial, history.last, history, context, result):
            return  # it was stopped here before, and its worker died before it could say so
        for report in steps:
            kframes = trainer.cursor.frames / 1_000
            lease.moved(kframes)
            better_one = False
            if report is None:
                context.sinks.emit(Progressed(trial.number, kframes, trainer.cursor.updates))
            else:
                better_one = better(report, history.kept, context.settings.health.targets)
                history.add(report)
                if better_one:
                    history.best = len(history.reports) - 1
                _tell(trial, report, history, context)
            due = report is not None if every is None else kframes // every > kept // every
            if due or better_one or context.interruption.why is not None:
                history.save(folder, trainer.snapshot(), alphabet)
                kept = kframes
            if better_one:
                history.save_best(folder, trainer.network.state_dict(), alphabet)
            if report is not None and _stopped(trial, report, history, context, result):
                return
            context.interruption.check()


def _tell(trial: optuna.Trial, report: Report, history: TrialHistory, context: WorkerContext) -> None:
    """A report to the study and to whoever watches."""
    trial.set_user_attr("health", history.record)
    if report.val_loss is not None:
        trial.report(report.val_loss, round(report.kframes))
    found = judge(history.record, context.judges)
    context.sinks.emit(Reported(trial.number, report, status(found), tuple(decision.evidence for decision in found)))


def _stopped(trial: optuna.Trial, report: Report, history: TrialHistory, context: WorkerContext, result: TrialResult) -> bool:
    """Whether the trial ends here, and in `result` why."""
    if trial.should_prune():
        attributes = trial.study._storage.get_trial(trial._trial_id).user_attrs
        result.pruned_by, result.reason = attributes["pruned_by"], attributes["pruned_reason"]
        result.severity = attributes["pruned_severity"]
        if result.pruned_by == "nonfinite" and report.gradients.culprit:
            result.reason += f"; the first term that was not: {report.gradients.culprit}"
    elif report.val_loss is None:  # whoever prunes, or nobody: there is nothing to go on with
        worst = judge(history.record, context.judges)[0]
        result.pruned_by, result.reason, result.severity = worst.rule, worst.evidence, worst.severity
    if result.pruned_by is not None:
        result.state = "PRUNED"
    return result.pruned_by is not None


def _finish(trainer: Trainer, number: int, context: WorkerContext, result: TrialResult) -> None:
    """Let the network speak: a complete trial's best snapshot, which gives its value; a pruned one as it stood."""
    folder = context.folder(number)
    targets = context.settings.health.targets
    if result.state == "COMPLETE":
        assert result.best is not None
        trainer.network.load_state_dict(checkpoints.load(folder / BEST)["weights"])
    asked = sentences(context.corpus, context.speech)
    spoken, result.free_running = speak(trainer.network, asked, context.device)
    if result.free_running is None:
        result.state, result.pruned_by, result.severity = "PRUNED", result.pruned_by or "nonfinite", result.severity or 1.0
        result.reason = result.reason or "what the network says when it speaks freely is not finite"
        return
    if result.state == "COMPLETE" and result.best is not None:
        result.value = value(context.settings.objective.score, result.best, result.free_running)
        result.violations = violations(result.best, targets)
        result.violations["free_failures"] = result.free_running.failures - targets.free_failures
        result.reason = misses(result.violations, result.best, result.free_running, targets) or None
    middle = 1  # neither the shortest nor the longest
    title = f"trial {number}"
    show(folder, spoken, middle, asked[middle], context.corpus.language, context.settings.audio, title)


def _levels(levels: Levels) -> dict[str, tuple[float, float]]:
    """What the learning curves are drawn against."""
    drawn = ("grad_norm", "diagonality", "alignment_score", "gate_accuracy")
    return {name: (getattr(levels, name).warn, getattr(levels, name).critical) for name in drawn}


def _write_config(path: Path, trial: optuna.Trial, config: Config, context: WorkerContext, seed: int) -> None:
    values: dict[str, Any] = {
        "trial": trial.number,
        "study": context.settings.study.name,
        "seed": seed,
        "language": context.corpus.language.code,
        "budget_kframes": context.settings.budget.kframes,
        **(
            {"warm_start": {"file": str(context.data.pretrained.path), "digest": context.data.pretrained.digest}}
            if context.data.pretrained
            else {}
        ),
        "params": dict(trial.params),
        **asdict(config),
    }
    with atomic_write(path) as part:
        part.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
