"""One trial: the only place where Optuna meets training. It follows the trainer's reports and says how the trial ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml

from model.config import Config
from model.files import whole
from model.report import Report
from model.snapshot import Snapshot
from model.text.symbols import symbols
from model.trainer import Trainer, out_of_memory
from objective.course import Course, forget, newest
from objective.events import Progressed, Reported, Resumed
from objective.lab import Lab
from objective.pictures import curves
from objective.ranks import Task, built, led
from objective.score import Speaking, better, misses, value, violations
from objective.speaking import sentences, show, speak
from pruners.levels import Levels
from pruners.record import empty
from pruners.rules import judge, status
from storage import checkpoints
from storage.folders import BEST
from storage.leases import Lease


@dataclass(slots=True)
class Ending:
    """How a trial ended, before the study is told."""

    state: str = "COMPLETE"  # or PRUNED: a fact about this point
    value: float | None = None
    reason: str | None = None
    pruned_by: str | None = None
    severity: float = 0.0
    violations: dict[str, float] = field(default_factory=dict)
    last: Report | None = None
    best: Report | None = None
    speaking: Speaking | None = None
    seconds: float = 0.0  # of all workers that this point had


def run_trial(trial: optuna.Trial, config: Config, lab: Lab, seed: int, lease: Lease, line: Sequence[int]) -> Ending:
    """Train `config` within the budget, or until a pruner says why not.

    `line` are the trials whose point this one is again, the newest first: it goes on from the newest good snapshot of theirs.
    Raises Interrupted, UpdateFinishedTrialError where somebody else ended the trial, and whatever the machine does.
    """
    folder = lab.folder(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    forget(folder)
    _write_config(folder / "config.yaml", trial, config, lab, seed)
    alphabet = {"symbols": list(symbols(lab.corpus.language))}  # a file of weights says what they are for
    course, start = _taken_up(trial, lab, {"params": dict(trial.params), "seed": seed, "study": lab.identity}, line, alphabet)
    budget, ending = lab.settings.budget, Ending()
    try:
        trainer = built(Task(config, budget, seed, start), lab.known, lab.speech, lab.group)
        _follow(trainer, trial, lab, ending, lease, course, alphabet)
        ending.last, ending.best = course.last, course.kept
        curves(folder / "curves.png", course.reports, _levels(lab.settings.health), f"trial {trial.number}")
        if ending.last is not None and ending.last.val_loss is not None:  # a network that says NaN says nothing
            _finish(trainer, trial.number, lab, ending)
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
        ending.state, ending.pruned_by, ending.severity = "PRUNED", "out_of_memory", 1.0
        r = config.network.reduction
        ending.reason = f"out of memory on {lab.device.type} at r = {r}, even with the batch in parts"
    ending.seconds = course.seconds
    return ending


def _taken_up(
    trial: optuna.Trial, lab: Lab, point: dict[str, Any], line: Sequence[int], alphabet: dict[str, Any]
) -> tuple[Course, Snapshot | None]:
    """The course of a trial so far; of a new one, an empty one. The study is told what an earlier trial told it up to there."""
    found = newest([lab.folder(number) for number in line], point, lab.warn)
    if found is None:
        return Course(point, empty(lab.settings.budget.kframes)), None
    course, snapshot, folder = found
    course.bring_best(folder, lab.folder(trial.number), snapshot, alphabet)
    if course.kept is None and snapshot.cursor.frames >= 1_000 * lab.settings.budget.kframes:
        lab.warn(f"trial {trial.number} begins again: the weights of its best report are damaged, and no report is to come")
        return Course(point, empty(lab.settings.budget.kframes)), None
    trial.set_user_attr("from_kframes", snapshot.cursor.frames / 1_000)
    for report in course.reports:
        if report.val_loss is not None:
            trial.report(report.val_loss, round(report.kframes))
    trial.set_user_attr("health", course.record)
    lab.sinks.emit(Resumed(trial.number, line[0], snapshot.cursor.frames / 1_000, tuple(course.reports)))
    return course, snapshot


def _follow(
    trainer: Trainer, trial: optuna.Trial, lab: Lab, ending: Ending, lease: Lease, course: Course, alphabet: dict[str, Any]
) -> None:
    """Consume the trainer's reports: record, show, keep snapshots, ask the pruner."""
    folder, every = lab.folder(trial.number), lab.settings.budget.snapshot_kframes
    kept = trainer.cursor.frames / 1_000
    with led(trainer, lab.group) as steps:
        if course.last is not None and _stopped(trial, course.last, course, lab, ending):
            return  # it was stopped here before, and its worker died before it could say so
        for report in steps:
            kframes = trainer.cursor.frames / 1_000
            lease.moved(kframes)
            better_one = False
            if report is None:
                lab.sinks.emit(Progressed(trial.number, kframes, trainer.cursor.updates))
            else:
                better_one = better(report, course.kept, lab.settings.health.targets)
                course.add(report)
                if better_one:
                    course.best = len(course.reports) - 1
                _tell(trial, report, course, lab)
            due = report is not None if every is None else kframes // every > kept // every
            if due or better_one or lab.interruption.why is not None:
                course.save(folder, trainer.snapshot(), alphabet)
                kept = kframes
            if better_one:
                course.save_best(folder, trainer.network.state_dict(), alphabet)
            if report is not None and _stopped(trial, report, course, lab, ending):
                return
            lab.interruption.check()


def _tell(trial: optuna.Trial, report: Report, course: Course, lab: Lab) -> None:
    """A report to the study and to whoever watches."""
    trial.set_user_attr("health", course.record)
    if report.val_loss is not None:
        trial.report(report.val_loss, round(report.kframes))
    found = judge(course.record, lab.judges)
    lab.sinks.emit(Reported(trial.number, report, status(found), tuple(decision.evidence for decision in found)))


def _stopped(trial: optuna.Trial, report: Report, course: Course, lab: Lab, ending: Ending) -> bool:
    """Whether the trial ends here, and in `ending` why."""
    if trial.should_prune():
        attributes = trial.study._storage.get_trial(trial._trial_id).user_attrs
        ending.pruned_by, ending.reason = attributes["pruned_by"], attributes["pruned_reason"]
        ending.severity = attributes["pruned_severity"]
        if ending.pruned_by == "nonfinite" and report.gradients.culprit:
            ending.reason += f"; the first term that was not: {report.gradients.culprit}"
    elif report.val_loss is None:  # whoever prunes, or nobody: there is nothing to go on with
        worst = judge(course.record, lab.judges)[0]
        ending.pruned_by, ending.reason, ending.severity = worst.rule, worst.evidence, worst.severity
    if ending.pruned_by is not None:
        ending.state = "PRUNED"
    return ending.pruned_by is not None


def _finish(trainer: Trainer, number: int, lab: Lab, ending: Ending) -> None:
    """Let the network speak: a complete trial's best snapshot, which gives its value; a pruned one as it stood."""
    folder = lab.folder(number)
    targets = lab.settings.health.targets
    if ending.state == "COMPLETE":
        assert ending.best is not None
        trainer.network.load_state_dict(checkpoints.load(folder / BEST)["weights"])
    asked = sentences(lab.corpus, lab.speech)
    spoken, ending.speaking = speak(trainer.network, asked, lab.device)
    if ending.speaking is None:
        ending.state, ending.pruned_by, ending.severity = "PRUNED", ending.pruned_by or "nonfinite", ending.severity or 1.0
        ending.reason = ending.reason or "what the network says when it speaks freely is not finite"
        return
    if ending.state == "COMPLETE" and ending.best is not None:
        ending.value = value(lab.settings.objective.score, ending.best, ending.speaking)
        ending.violations = violations(ending.best, targets)
        ending.violations["free_failures"] = ending.speaking.failures - targets.free_failures
        ending.reason = misses(ending.violations, ending.best, ending.speaking, targets) or None
    middle = 1  # neither the shortest nor the longest
    title = f"trial {number}"
    show(folder, spoken, middle, asked[middle], lab.corpus.language, lab.settings.audio, title)


def _levels(levels: Levels) -> dict[str, tuple[float, float]]:
    """What the learning curves are drawn against."""
    drawn = ("grad_norm", "diagonality", "alignment_score", "gate_accuracy")
    return {name: (getattr(levels, name).warn, getattr(levels, name).critical) for name in drawn}


def _write_config(path: Path, trial: optuna.Trial, config: Config, lab: Lab, seed: int) -> None:
    values: dict[str, Any] = {
        "trial": trial.number,
        "study": lab.settings.study.name,
        "seed": seed,
        "language": lab.corpus.language,
        "budget_kframes": lab.settings.budget.kframes,
        **({"warm_start": {"file": str(lab.known.donor.path), "digest": lab.known.donor.digest}} if lab.known.donor else {}),
        "params": dict(trial.params),
        **asdict(config),
    }
    with whole(path) as part:
        part.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
