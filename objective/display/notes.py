"""Write notes for optuna-dashboard: how each trial ended and why, its parameters, what it repairs; how far the study is."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.display import heard
from objective.display.formatting import duration, kframes, norm, number, settings, share
from objective.display.summary import described, outcomes, reached, saved_kframes, seconds_left
from storage.optuna_private import storage_of, study_id, trial_id
from storage.outcome import best_of, failure_reason, is_finished, outcome, pruned, rank, reason

PIECE = 2_045  # characters of a note in one attribute


def note(trial: FrozenTrial, budget_kframes: float) -> str:
    """Return the note of a trial that has ended, as Markdown, from its attributes."""
    attributes = trial.user_attrs
    end = outcome(trial)
    by = f" by {attributes['pruned_by']}" if pruned(trial) else ""
    spent = f"{kframes(attributes.get('kframes', reached(trial)))} of {kframes(budget_kframes)} kframes"
    parts = [f"**{end}{by}**: value {number(trial.value)} after {spent}"]
    if sentence := reason(trial) or failure_reason(trial):
        parts.append(f"> {sentence}")
    if spoken := heard.described(heard.spoken_of(attributes)):
        parts.append(spoken)
    parts += [_figures(trial), f"{attributes.get('origin', 'sampled')}: {settings(described(trial.params))}"]
    if "repair_of" in attributes:
        parts.append("\n".join(f"- {change}" for change in attributes["changes"]))
        parts += [f"changed from trial {attributes['repair_of']}, which ended with:", f"> {attributes['repair_why']}"]
    return "\n\n".join(parts)


def board(trials: Sequence[FrozenTrial], wanted: int, budget_kframes: float, idle: int = 1) -> str:
    """Return the note of a study as Markdown: how many trials ended how, the best, frames saved, time left.

    idle: workers between two trials, such as the one that writes this; 0 at the end.
    """
    done = [trial for trial in trials if is_finished(trial)]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    counted = ", ".join(f"{count} {word}" for word, count in outcomes(done).most_common())
    parts = [f"**{len(done)} of {wanted} trials finished**: {counted or 'none'}; {running} running"]
    parts += _best(done)
    saved = sum(saved_kframes(done, budget_kframes).values())
    if saved:
        part = saved / (len(done) * budget_kframes)
        parts.append(f"{kframes(saved)} kframes saved by stopping early, {part:.0%} of the budget of these trials")
    if left := seconds_left(trials, wanted, budget_kframes, idle):
        parts.append(f"about {duration(left)} left")
    parts += dict.fromkeys(trial.user_attrs["device"] for trial in trials if "device" in trial.user_attrs)
    return "\n\n".join(parts)[:PIECE]  # always one piece, so that none remains from a longer note


def complete(study: optuna.Study, wanted: int, budget_kframes: float, study_only: bool = False) -> None:
    """Save the notes that no worker could, of trials that failed or whose worker died, and then the study's note.

    study_only: leave the notes of trials to the next command.
    """
    trials = study.get_trials(deepcopy=False)
    saved = {} if study_only else storage_of(study).get_study_system_attrs(study_id(study))
    for trial in () if study_only else trials:
        if trial.state.is_finished() and f"dashboard:{trial_id(trial)}:note_ver" not in saved:
            save(study, note(trial, budget_kframes), trial)
    save(study, board(trials, wanted, budget_kframes, idle=0), version=len(trials))


def save(study: optuna.Study, body: str, trial: optuna.Trial | FrozenTrial | None = None, version: int = 1) -> None:
    """Save the note of a study, or of one of its trials, where the dashboard reads it.

    Does what `optuna_dashboard.save_note` does, which would import scikit-learn and read the notes of all trials twice.
    """
    place = "" if trial is None else f"{trial_id(trial)}:"
    pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    entries = {"note_ver": version} | {f"note_str:{number}": piece for number, piece in enumerate(pieces)}
    for name, value in entries.items():
        storage_of(study).set_study_system_attr(study_id(study), f"dashboard:{place}{name}", value)


def _best(done: Sequence[FrozenTrial]) -> list[str]:
    """Return the best of finished trials with its errors; while none is healthy, the closest and how far it is."""
    best = best_of(done)
    if best is not None:
        spoken = heard.errors(heard.spoken_of(best.user_attrs))
        figures = [f"best: trial {best.number}", f"value {number(best.value)}", *filter(None, [spoken])]
        return [f"{', '.join(figures)}\n\n> {settings(described(best.params))}"]
    closest = min(done, key=rank, default=None)
    if closest is None:
        return []
    missed = {name.removeprefix("health/"): amount for name, amount in closest.constraints.items()}
    far = heard.distance(heard.spoken_of(closest.user_attrs), missed) or reason(closest) or "stopped"
    return [f"no healthy trial yet; the closest is trial {closest.number}: {far}"]


def _figures(trial: FrozenTrial) -> str:
    formats = {"val_loss": number, "train_loss": number, "grad_norm_median": norm, "grad_norm_p95": norm}
    formats |= dict.fromkeys(("diagonality", "reading", "coverage", "gate_accuracy"), share)
    return ", ".join(f"{name.replace('_', ' ')} {text(trial.user_attrs.get(name))}" for name, text in formats.items())
