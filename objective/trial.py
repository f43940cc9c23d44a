"""One trial: the only place where Optuna meets training. It follows the trainer's reports and says how the trial ended."""
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml

from model.config import Config
from model.data.corpus import Corpus
from model.files import whole
from model.report import Report
from model.text.symbols import symbols
from model.trainer import Speech, Trainer, out_of_memory
from model.warmstart import Donor, warm_start
from objective.events import Progressed, Reported
from objective.interruption import Interruption
from objective.pictures import curves
from objective.score import Speaking, better, misses, value, violations
from objective.settings import Settings
from objective.sinks.fan import Sinks
from objective.sinks.jsonl import trial_folder
from objective.speaking import sentences, show, speak
from pruners.levels import Levels
from pruners.record import empty, extended, point
from pruners.rules import Rule, judge, status
from search_spaces.space import Space
from storage import checkpoints


@dataclass(frozen=True, slots=True)
class Lab:
    """What all trials of a study share."""

    settings: Settings
    space: Space
    corpus: Corpus
    speech: Speech
    device: torch.device
    judges: tuple[Rule, ...]
    sinks: Sinks
    interruption: Interruption
    donor: Donor | None = None  # every trial starts from it

    def folder(self, number: int) -> Path:
        return trial_folder(self.settings.folder, number)


@dataclass(slots=True)
class Ending:
    """How a trial ended, before the study is told."""

    state: str = "COMPLETE"  # or PRUNED: a fact about this point
    value: float | None = None
    reason: str | None = None
    pruned_by: str | None = None
    severity: float = 0.0
    violations: dict[str, float] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    best: Report | None = None
    speaking: Speaking | None = None

    @property
    def last(self) -> Report | None:
        return self.reports[-1] if self.reports else None


def run_trial(trial: optuna.Trial, config: Config, lab: Lab, seed: int) -> Ending:
    """Train `config` within the budget, or until a pruner says why not. Raises Interrupted, and whatever the machine does."""
    folder = lab.folder(trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder / "config.yaml", trial, config, lab, seed)
    ending = Ending()
    try:
        budget = lab.settings.budget
        trainer = Trainer(config, lab.speech, budget.kframes, budget.reports, lab.device, seed)
        if lab.donor is not None:
            warm_start(trainer.network, symbols(lab.corpus.language), lab.donor)
        _follow(trainer, trial, lab, ending)
        curves(folder / "curves.png", ending.reports, _levels(lab.settings.health), f"trial {trial.number}")
        if ending.last is not None and ending.last.val_loss is not None:  # a network that says NaN says nothing
            _finish(trainer, trial.number, lab, ending)
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
        ending.state, ending.pruned_by, ending.severity = "PRUNED", "out_of_memory", 1.0
        r = config.network.reduction
        ending.reason = f"out of memory on {lab.device.type} at r = {r}, even with the batch in parts"
    return ending


def _follow(trainer: Trainer, trial: optuna.Trial, lab: Lab, ending: Ending) -> None:
    """Consume the trainer's reports: record, show, keep the best snapshot, ask the pruner."""
    folder = lab.folder(trial.number)
    record = empty(lab.settings.budget.kframes)
    alphabet = {"symbols": list(symbols(lab.corpus.language))}  # a file of weights says what they are for
    with closing(trainer.steps()) as steps:
        for report in steps:
            lab.interruption.check()
            cursor = trainer.cursor
            if report is None:
                lab.sinks.emit(Progressed(trial.number, cursor.frames / 1_000, cursor.updates))
                continue
            ending.reports.append(report)
            record = extended(record, point(report))
            trial.set_user_attr("health", record)
            if report.val_loss is not None:
                trial.report(report.val_loss, round(report.kframes))
            found = judge(record, lab.judges)
            sentences = tuple(decision.evidence for decision in found)
            lab.sinks.emit(Reported(trial.number, report, status(found), sentences))
            if better(report, ending.best, lab.settings.health.targets):
                ending.best = report
                weights = {"weights": trainer.network.state_dict(), "kframes": report.kframes}
                checkpoints.save(folder / "best.pt", weights | alphabet)
            checkpoints.save(folder / "last.pt", trainer.snapshot().as_dict() | alphabet)
            if trial.should_prune():
                attributes = trial.study._storage.get_trial(trial._trial_id).user_attrs
                ending.pruned_by, ending.reason = attributes["pruned_by"], attributes["pruned_reason"]
                ending.severity = attributes["pruned_severity"]
                if ending.pruned_by == "nonfinite" and report.gradients.culprit:
                    ending.reason += f"; the first term that was not: {report.gradients.culprit}"
            elif report.val_loss is None:  # whoever prunes, or nobody: there is nothing to go on with
                worst = found[0]
                ending.pruned_by, ending.reason, ending.severity = worst.rule, worst.evidence, worst.severity
            if ending.pruned_by is not None:
                ending.state = "PRUNED"
                return


def _finish(trainer: Trainer, number: int, lab: Lab, ending: Ending) -> None:
    """Let the network speak: a complete trial's best snapshot, which gives its value; a pruned one as it stood."""
    folder = lab.folder(number)
    targets = lab.settings.health.targets
    if ending.state == "COMPLETE":
        assert ending.best is not None
        trainer.network.load_state_dict(checkpoints.load(folder / "best.pt")["weights"])
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
        **({"warm_start": {"file": str(lab.donor.path), "digest": lab.donor.digest}} if lab.donor else {}),
        "params": dict(trial.params),
        **asdict(config),
    }
    with whole(path) as part:
        part.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
