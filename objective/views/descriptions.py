"""Describe trials and studies in Markdown, from their lines alone: the descriptions of MLflow's runs and experiment."""

from typing import Any

from objective.display import heard
from objective.display.formatting import duration, kframes, number, verdict
from objective.display.summary import described
from objective.events.log_reader import StudyLog, Trial

EXPERIMENT = """\
Hyperparameter searches for Tacotron 2 voices, by tacotune. Each study is a run, and below it lies one for each configuration.

A trial is **healthy** if it meets every target: what it says without its teacher is understood, and few sentences have a fault.
It is **sick** if it misses one, **pruned** if it was stopped before it met them. Only a healthy trial can be the best. Metrics
are drawn over kframes, thousands of mel frames seen in training.
"""


def word(trial: Trial) -> str:
    """Return what became of a trial: healthy, sick, pruned, failed, or running."""
    return "running" if trial.state == "RUNNING" else verdict(trial.state, trial.healthy).word


def of_trial(trial: Trial) -> str:
    """Describe how a trial ended, why, what it said, where it comes from, and its parameters."""
    budget, end = f"{kframes(trial.budget_kframes)} kframes", trial.end
    if end is None:
        head = f"**{word(trial)}**, with a budget of {budget}"
    else:
        by = f" by {end['pruned_by']}" if end["pruned_by"] else ""
        value = f", value {number(end['value'])}" if end["value"] is not None else ""
        head = f"**{word(trial)}{by}**{value}, after {kframes(end['kframes'])} of {budget} in {duration(end['seconds'])}"
    said, params = heard.described(trial.spoken), _table(described(trial.params))
    parts = [head, *_quoted((end or {}).get("reason")), said, f"Origin: {trial.origin}", params]
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
    """Return the best trial with what it says; while none is healthy, the closest and how far it is."""
    ended = [trial for trial in study_log.trials.values() if trial.state in ("COMPLETE", "PRUNED")]
    first = min(ended, key=lambda trial: trial.rank, default=None)
    if first is None or first.end is None:
        return ["No healthy trial yet"]
    if first.healthy:
        head = f"Best: trial {first.number}, value {number(first.end['value'])}"
    else:
        far = heard.distance(first.spoken, first.end["violations"]) or first.end["reason"] or "stopped"
        head = f"No healthy trial yet. The closest is trial {first.number}: {far}"
    return [head, *filter(None, [heard.described(first.spoken)]), _table(described(first.params))]


def _quoted(sentence: str | None) -> list[str]:
    return [f"> {' '.join(sentence.split())}"] if sentence else []


def _table(params: dict[str, Any]) -> str:
    rows = [f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |" for name, value in params.items()]
    return "\n".join(["| parameter | value |", "|---|---|", *rows]) if rows else ""
