"""Describe trials and studies in Markdown, from their lines alone: the descriptions of MLflow's runs and experiment."""

from typing import Any

from objective.display.formatting import duration, kframes, number, verdict
from objective.display.summary import described
from objective.events.log_reader import StudyLog, Trial

EXPERIMENT = """\
Hyperparameter searches for Tacotron 2 voices, by tacotune. Each study is a run, and below it lies one for each configuration.

A trial is **healthy** if it ran to its end and meets every target, **sick** if it ran to its end but misses one, **pruned** if
it was stopped early. Only a healthy trial can be the best. Metrics are drawn over kframes, thousands of
mel frames seen in training.
"""


def word(trial: Trial) -> str:
    """Return what became of a trial: healthy, sick, pruned, failed, or running."""
    return "running" if trial.state == "RUNNING" else verdict(trial.state, trial.healthy).word


def of_trial(trial: Trial) -> str:
    """Describe how a trial ended, why, where it comes from, and its parameters."""
    budget, end = f"{kframes(trial.budget_kframes)} kframes", trial.end
    if end is None:
        head = f"**{word(trial)}**, with a budget of {budget}"
    else:
        by = f" by {end['pruned_by']}" if end["pruned_by"] else ""
        value = f", value {number(end['value'])}" if end["value"] is not None else ""
        head = f"**{word(trial)}{by}**{value}, after {kframes(end['kframes'])} of {budget} in {duration(end['seconds'])}"
    parts = [head, *_quoted((end or {}).get("reason")), f"Origin: {trial.origin}", _table(described(trial.params))]
    return "\n\n".join(part for part in parts if part)


def of_study(study_log: StudyLog, why: str | None = None) -> str:
    """Describe how a study stands or ended, its best trial, and its notes. `why`: of a command that ended without a line."""
    end = study_log.end
    if end is None:
        head = f"**running**, {study_log.started.get('wanted', '-')} trials wanted" if why is None else f"**{why}**"
    else:
        head = f"**{end['why']}**: {end['finished']} of {end['wanted']} trials in {duration(end['seconds'])}"
    best = [] if end is None and why is None else _best(study_log)
    notes = "\n".join(f"- {note}" for note in study_log.started.get("notes", ()))
    return "\n\n".join(part for part in (head, *best, notes) if part)


def _best(study_log: StudyLog) -> list[str]:
    best = min((trial for trial in study_log.trials.values() if trial.healthy), key=lambda trial: trial.rank, default=None)
    if best is None or best.end is None:
        return ["No healthy trial yet"]
    return [f"Best: trial {best.number}, value {number(best.end['value'])}", _table(described(best.params))]


def _quoted(sentence: str | None) -> list[str]:
    return [f"> {' '.join(sentence.split())}"] if sentence else []


def _table(params: dict[str, Any]) -> str:
    rows = [f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |" for name, value in params.items()]
    return "\n".join(["| parameter | value |", "|---|---|", *rows]) if rows else ""
