"""Notes for optuna-dashboard.

A trial's: how it ended, the very sentence why, what it was, and what it tried to mend. The study's: how far it is.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from objective.display.formatting import duration, kframes, norm, number, settings, share
from objective.display.summary import described, outcomes, reached, saved_kframes, seconds_left
from storage.optuna_private import storage_of, study_id, trial_id
from storage.outcome import best_of, failure_reason, is_finished, outcome, pruned, reason

PIECE = 2_045  # signs of a note in one attribute


def note(trial: FrozenTrial, budget_kframes: float) -> str:
    """Markdown, from what a finished trial left in its study."""
    known = trial.user_attrs
    end = outcome(trial)
    by = f" by {known['pruned_by']}" if pruned(trial) else ""
    spent = f"{kframes(known.get('kframes', reached(trial)))} of {kframes(budget_kframes)} kframes"
    parts = [f"**{end}{by}**: value {number(trial.value)} after {spent}"]
    if sentence := reason(trial) or failure_reason(trial):
        parts.append(f"> {sentence}")
    parts += [_figures(trial), f"{known.get('origin', 'sampled')}: {settings(described(trial.params))}"]
    if "repair_of" in known:
        parts.append("\n".join(f"- {change}" for change in known["changes"]))
        parts += [f"was changed against trial {known['repair_of']}, of which was said:", f"> {known['repair_why']}"]
    return "\n\n".join(parts)


def board(trials: Sequence[FrozenTrial], wanted: int, budget_kframes: float, idle: int = 1) -> str:
    """Markdown, from all trials of a study: how many ended how, the best, the frames saved by pruning, how long it may take.

    idle: workers between two trials, as the one is that writes this; 0 at the end.
    """
    done = [trial for trial in trials if is_finished(trial)]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    counted = ", ".join(f"{count} {word}" for word, count in outcomes(done).most_common())
    parts = [f"**{len(done)} of {wanted} trials finished**: {counted or 'none'}; {running} running"]
    best = best_of(done)
    if best is not None:
        parts.append(f"best: trial {best.number}, value {number(best.value)}\n\n> {settings(described(best.params))}")
    saved = sum(saved_kframes(done, budget_kframes).values())
    if saved:
        part = saved / (len(done) * budget_kframes)
        parts.append(f"{kframes(saved)} kframes saved by pruning, {part:.0%} of what these trials might have cost")
    if left := seconds_left(trials, wanted, budget_kframes, idle):
        parts.append(f"about {duration(left)} to go")
    return "\n\n".join(parts)[:PIECE]  # always one piece: none is left over from a longer one


def complete(study: optuna.Study, wanted: int, budget_kframes: float, in_a_hurry: bool = False) -> None:
    """Save the study's note as it is now, and before that those that no worker could: of trials that died, or whose worker did.

    Who is `in_a_hurry` leaves these to the next command.
    """
    trials = study.get_trials(deepcopy=False)
    there = {} if in_a_hurry else storage_of(study).get_study_system_attrs(study_id(study))
    for trial in () if in_a_hurry else trials:
        if trial.state.is_finished() and f"dashboard:{trial_id(trial)}:note_ver" not in there:
            save(study, note(trial, budget_kframes), trial)
    save(study, board(trials, wanted, budget_kframes, idle=0), version=len(trials))


def save(study: optuna.Study, body: str, trial: optuna.Trial | FrozenTrial | None = None, version: int = 1) -> None:
    """Keep the note of a study, or of one of its trials, where the dashboard looks for it.

    Written as `optuna_dashboard.save_note` does, which brings scikit-learn along and reads the notes of all trials, twice.
    """
    place = "" if trial is None else f"{trial_id(trial)}:"
    pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    entries = {"note_ver": version} | {f"note_str:{number}": piece for number, piece in enumerate(pieces)}
    for name, value in entries.items():
        storage_of(study).set_study_system_attr(study_id(study), f"dashboard:{place}{name}", value)


def _figures(trial: FrozenTrial) -> str:
    says = {"val_loss": number, "train_loss": number, "grad_norm_median": norm, "grad_norm_p95": norm}
    shares = ("diagonality", "alignment_score", "coverage", "gate_accuracy")
    says |= dict.fromkeys(shares, share)
    return ", ".join(f"{name.replace('_', ' ')} {say(trial.user_attrs.get(name))}" for name, say in says.items())
