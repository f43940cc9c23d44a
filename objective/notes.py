"""A trial's note for optuna-dashboard: how it ended, the very sentence why, what it was, and what it tried to mend."""
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial

from objective.board import described, healthy, pruned, reason
from objective.sinks.words import kframes, norm, number, settings, share, verdict


def note(trial: FrozenTrial, budget_kframes: float) -> str:
    """Markdown, from what a finished trial left in its study."""
    known = trial.user_attrs
    end = verdict("PRUNED" if pruned(trial) else trial.state.name, healthy(trial)).word
    by = f" by {known['pruned_by']}" if pruned(trial) else ""
    spent = f"{kframes(known.get('kframes', 0.0))} of {kframes(budget_kframes)} kframes"
    parts = [f"**{end}{by}**: value {number(trial.value)} after {spent}"]
    if sentence := reason(trial):
        parts.append(f"> {sentence}")
    parts += [_figures(trial), f"{known.get('origin', 'sampled')}: {settings(described(trial.params))}"]
    if "repair_of" in known:
        parts.append("\n".join(f"- {change}" for change in known["changes"]))
        parts += [f"was changed against trial {known['repair_of']}, of which was said:", f"> {known['repair_why']}"]
    return "\n\n".join(parts)


def save(trial: optuna.Trial, body: str, tell: Callable[[str], None]) -> None:
    """Keep the note where the dashboard looks for it. A dashboard that cannot be loaded costs the note alone."""
    try:
        from optuna_dashboard import save_note  # takes a second: it brings scikit-learn
    except ImportError as why:
        tell(f"trial {trial.number} has no note for the dashboard: {type(why).__name__}: {why}")
        return
    save_note(trial, body)


def _figures(trial: FrozenTrial) -> str:
    says = {"val_loss": number, "train_loss": number, "grad_norm_median": norm, "grad_norm_p95": norm}
    shares = ("diagonality", "alignment_score", "coverage", "gate_accuracy")
    says |= dict.fromkeys(shares, share)
    return ", ".join(f"{name.replace('_', ' ')} {say(trial.user_attrs.get(name))}" for name, say in says.items())
