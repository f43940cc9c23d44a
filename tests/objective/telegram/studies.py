"""Studies filled by hand, in real databases: with what the worker writes, and without training anything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from model.audio import save_opus
from model.config import Audio
from model.report import Report
from objective.search.worker import tell
from objective.settings.schema import Settings
from objective.trial.plots import alignment, curves
from objective.trial.run import TrialResult
from pruners.health_record import empty, extended, point
from storage.artifacts import publish
from storage.lineage import release
from storage.studies import open_storage
from tests.objective.samples import REASON, report

NAME, BUDGET = "anna", 500
SHOWN = ("alignment.png", "curves.png", "sample.ogg")
POINT = {"training.learning_rate": 0.002, "network.reduction": 2}
CHANGES = ["training.learning_rate 0.002 -> 0.001"]


def draw(folder: Path) -> list[Path]:
    """What a trial leaves to look at and to listen to, as small as it goes."""
    measured = {"diagonality": 0.8}
    alignment(folder / "alignment.png", np.eye(6, 4) + 1e-3, list("abcd"), measured, "trial")
    curves(folder / "curves.png", [report(120.0), report(240.0)], {}, "trial")
    save_opus(folder / "sample.ogg", np.zeros(800, dtype=np.float32), Audio())
    return [folder / name for name in SHOWN]


class Made:
    """A study of the folder `out`, whose trials come and end as a test says."""

    def __init__(self, out: Path, wanted: int = 6, drawn: list[Path] | None = None) -> None:
        self.out, self.drawn, self.url = out, drawn or [], f"sqlite:///{out}/tacotune.db"
        settings = Settings.model_validate({"study": {"name": NAME, "trials": wanted}, "budget": {"kframes": BUDGET}})
        self.study = optuna.create_study(storage=open_storage(self.url), study_name=NAME)
        self.study.set_user_attr("settings", settings.dump())

    def begin(self, params: dict[str, Any] = POINT, **attributes: Any) -> optuna.Trial:
        self.study.enqueue_trial(params, user_attrs=attributes)
        trial = self.study.ask()
        trial.suggest_float("training.learning_rate", 1e-4, 1.0, log=True)
        trial.suggest_int("network.reduction", 1, 4)
        trial.set_user_attr("k", trial.number)
        return trial

    def reports(self, trial: optuna.Trial, *seen: Report) -> None:
        record = trial.user_attrs.get("health") or empty(BUDGET)
        for one in seen:
            record = extended(record, point(one))
            trial.report(one.val_loss or 9.0, round(one.kframes))
        trial.set_user_attr("health", record)

    def complete(self, trial: optuna.Trial, value: float, missed: float = -0.1) -> None:
        """`missed`: by so much it misses its diagonality; healthy where that is negative."""
        last = report(float(BUDGET))
        self.reports(trial, last)
        publish(self.study, trial, self.drawn, self.out)
        why = f"misses diagonality by {missed:.2f}" if missed > 0 else None
        ending = TrialResult(value=value, reason=why, violations={"diagonality": missed}, last=last, best=last, seconds=72.0)
        tell(self.study, trial, ending, "tpe")

    def prune(self, trial: optuna.Trial, by: str = "diagonality", *seen: Report, why: str = REASON) -> None:
        seen = seen or (report(60.0), report(120.0))
        self.reports(trial, *seen)
        publish(self.study, trial, self.drawn[:1], self.out)
        ending = TrialResult("PRUNED", reason=why, pruned_by=by, severity=0.5, last=seen[-1], seconds=20.0)
        tell(self.study, trial, ending, "tpe")

    def lose(self, trial: optuna.Trial, why: str = "its worker died", died: bool = True) -> None:
        release(self.study, trial.number, why, died=died)

    def fail(self, trial: optuna.Trial) -> None:
        self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def sick(kframes: float, norm: float = 400.0) -> Report:
    """A report with a gradient norm of this size at its 95th percentile."""
    return replace(report(kframes), gradients=replace(report().gradients, p95=norm, median=norm / 3))


# The first line of each message that `whole` is told with, in order; boards left out.
TOLD = [
    "▶️ anna is watched: 4 of 6 trials finished, 500 kframes each",
    "⭐ trial 0: 0.600, the best so far",
    "trial 0: attention and curves",
    "trial 0",
    "✂️ trial 1 was stopped by diagonality at 0.900",
    "trial 1: attention and curves",
    "🔧 trial 2 repairs trial 1: training.learning_rate 0.002 -> 0.001",
    "⭐ trial 2: 0.500, the best so far",
    "trial 2: attention and curves",
    "trial 2",
    "💥 trial 3 is lost: its worker died; its point comes again",
    "↪️ trial 5 goes on with the point of trial 3",
    "⚠️ trial 5: 0.550, sick",
    "trial 5: attention and curves",
    "trial 5",
    "✋ trial 6 was ended from outside; its point does not come again",
    "⏹ anna stopped: 4 of 6",
]


def whole(out: Path, drawn: list[Path]) -> Made:
    """A study in which everything happens that can happen to a trial."""
    made = Made(out, drawn=drawn)
    made.complete(made.begin(origin="recipe tacotune"), 0.6)
    made.prune(made.begin({**POINT, "network.reduction": 1}))
    repair = {"repair_of": 1, "repair_depth": 1, "repair_why": REASON, "changes": CHANGES, "origin": "repair of trial 1"}
    made.complete(made.begin({**POINT, "training.learning_rate": 0.001}, **repair), 0.5)
    made.lose(made.begin())
    made.lose(made.begin(), "interrupted", died=False)  # its command was stopped, of which is told
    made.complete(made.begin(again_of=3), 0.55, missed=0.2)
    made.fail(made.begin())
    return made
