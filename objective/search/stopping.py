"""When a study ends, apart from somebody's wish and the machine's: enough trials, a value that is reached, a night to save."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from objective.settings.schema import Settings
from storage.outcome import best_of, finished, pruned, reason

# What to look at where trial after trial is stopped at its first report, by what stopped them.
WAYS_OUT = {
    "out_of_memory": "lower training.batch_size, or search fewer large networks",
    "nonfinite": "lower the learning rates of the space, or listen to the recordings",
    "grad_norm": "lower the learning rates of the space, or training.clip_norm",
}
ANY = "look at their curves.png, and compare the levels under health. with them"


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a worker stopped, and the exit code that says so."""

    why: str  # "finished", "interrupted", or a sentence
    code: int = 0
    early: bool = False  # trials were released: the same command goes on with them


class StoppingRules:
    """Asked before each trial. Trials that had ended when it was made count for the number, not for a row of dead ones."""

    def __init__(self, study: optuna.Study, settings: Settings) -> None:
        self.settings = settings.study
        self.before = {trial.number for trial in finished(study)}

    def end(self, trials: Sequence[FrozenTrial]) -> StopReason | None:
        """Whether there is an end now that `trials` are finished."""
        if len(trials) >= self.settings.trials:
            return StopReason("finished")
        best = best_of(trials)
        until = self.settings.until
        if until is not None and best is not None and best.value is not None and best.value <= until:
            return StopReason(f"trial {best.number} reached {best.value:.4g}, the aim was {until:g}")
        return self._dead([trial for trial in trials if trial.number not in self.before])

    def _dead(self, trials: list[FrozenTrial]) -> StopReason | None:
        """Where the newest of `trials` all ended at their first report, the next will do so, too."""
        row = self.settings.dead_in_a_row
        newest = sorted(trials, key=lambda trial: (trial.datetime_complete is not None, trial.datetime_complete))[-row - 1 :]
        if not row or len(newest) <= row or not all(map(at_birth, newest)):
            return None
        causes = Counter(trial.user_attrs["pruned_by"] for trial in newest)
        cause, _ = causes.most_common(1)[0]
        counted = ", ".join(f"{count} by {name}" for name, count in causes.most_common())
        said = f"{len(newest)} trials in a row were stopped at their first report ({counted})"
        return StopReason(f"{said}, the last since {reason(newest[-1])}: {WAYS_OUT.get(cause, ANY)}", 1)


def at_birth(trial: FrozenTrial) -> bool:
    """Whether a rule stopped a finished trial at its first report."""
    known = trial.user_attrs
    return pruned(trial) and known["pruned_by"] != "peers" and len(known.get("health", {}).get("kframes", ())) <= 1
