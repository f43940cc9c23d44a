"""Decide when a study ends by itself: enough trials, a value that is good enough, or trials that all stop at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from objective.settings.schema import Settings
from storage.outcome import best_of, finished, pruned, reason

# What to do where consecutive trials are stopped at their first report, by the rule that stopped them.
ADVICE = {
    "out_of_memory": "lower training.batch_size, or search fewer large networks",
    "nonfinite": "lower the learning rates of the space, or listen to the recordings",
    "grad_norm": "lower the learning rates of the space, or training.clip_norm",
}
OTHER_ADVICE = "compare their curves.png with the levels under health."


@dataclass(frozen=True, slots=True)
class StopReason:
    """The reason why a worker stopped, and its exit code."""

    reason: str  # "finished", "interrupted", or a sentence
    code: int = 0
    early: bool = False  # trials were released: the same command continues them


class StoppingRules:
    """Checked before each trial.

    Trials that had finished before this object was created count as finished trials, not as consecutive early stops: a command
    that is typed again tries again.
    """

    def __init__(self, study: optuna.Study, settings: Settings) -> None:
        self.settings = settings.study
        self.before = {trial.number for trial in finished(study)}

    def check(self, trials: Sequence[FrozenTrial]) -> StopReason | None:
        """Return why the study ends now that `trials` are finished, or None where it continues."""
        if len(trials) >= self.settings.trials:
            return StopReason("finished")
        best = best_of(trials)
        until = self.settings.until
        if until is not None and best is not None and best.value is not None and best.value <= until:
            return StopReason(f"trial {best.number} reached {best.value:.4g}, the goal was {until:g}")
        return self._all_stopped_early([trial for trial in trials if trial.number not in self.before])

    def _all_stopped_early(self, trials: list[FrozenTrial]) -> StopReason | None:
        """Stop where the newest of `trials` were all stopped at their first report, as the next one would be."""
        limit = self.settings.dead_in_a_row
        newest = sorted(trials, key=lambda trial: (trial.datetime_complete is not None, trial.datetime_complete))[-limit - 1 :]
        if not limit or len(newest) <= limit or not all(map(stopped_at_first_report, newest)):
            return None
        causes = Counter(trial.user_attrs["pruned_by"] for trial in newest)
        cause, _ = causes.most_common(1)[0]
        counted = ", ".join(f"{count} by {name}" for name, count in causes.most_common())
        summary = f"{len(newest)} consecutive trials were stopped at their first report ({counted})"
        return StopReason(f"{summary}, the last one because {reason(newest[-1])}: {ADVICE.get(cause, OTHER_ADVICE)}", 1)


def stopped_at_first_report(trial: FrozenTrial) -> bool:
    """Return whether a health rule stopped a finished trial at its first report."""
    attributes = trial.user_attrs
    reports = attributes.get("health", {}).get("kframes", ())
    return pruned(trial) and attributes["pruned_by"] != "peers" and len(reports) <= 1
