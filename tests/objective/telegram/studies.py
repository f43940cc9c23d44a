"""Studies in real databases, filled with what a worker writes, without any training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from model.report import Report
from model.spoken import Fault, FreeRunning, Spoken
from objective.search.worker import tell
from objective.settings.schema import Settings
from objective.telegram.event_queue import StudyState
from objective.trial.run import TrialResult
from pruners.decision import judge
from pruners.health_record import empty, extended, measurements
from pruners.rules import shipped_rules
from pruners.thresholds import Thresholds
from storage.artifacts import publish
from storage.lineage import release
from storage.studies import open_storage
from tests.objective.samples import REASON, report

NAME, BUDGET = "anna", 500
FILES = ("alignment.png", "curves.png", "sample.ogg")
PARAMS = {"training.learning_rate": 0.002, "network.reduction": 2}
CHANGES = ["training.learning_rate 0.002 -> 0.001"]


def write_files(folder: Path) -> list[Path]:
    """Write stand-ins for the pictures and the sample of a trial: the reporter passes their bytes on as they are."""
    files = [folder / name for name in FILES]
    for file in files:
        file.write_bytes(f"content of {file.name}".encode())
    return files


class StudyBuilder:
    """A study in the folder `out` whose trials start and end as a test calls for."""

    def __init__(self, out: Path, wanted: int = 6, files: list[Path] | None = None) -> None:
        self.out, self.wanted, self.files, self.url = out, wanted, files or [], f"sqlite:///{out}/tacotune.db"
        settings = Settings.model_validate({"study": {"name": NAME, "trials": wanted}, "budget": {"kframes": BUDGET}})
        self.study = optuna.create_study(storage=open_storage(self.url), study_name=NAME)
        self.study.set_user_attr("settings", settings.dump())

    def begin(self, params: dict[str, Any] = PARAMS, **attributes: Any) -> optuna.Trial:
        self.study.enqueue_trial(params, user_attrs=attributes)
        trial = self.study.ask()
        trial.suggest_float("training.learning_rate", 1e-4, 1.0, log=True)
        trial.suggest_int("network.reduction", 1, 4)
        trial.set_user_attr("k", trial.number)
        return trial

    def reports(self, trial: optuna.Trial, *reports: Report) -> None:
        record = trial.user_attrs.get("health") or empty(BUDGET)
        for new in reports:
            record = extended(record, measurements(new))
            trial.report(new.val_loss or 9.0, round(new.kframes))
        trial.set_user_attr("health", record)

    def complete(self, trial: optuna.Trial, value: float, missed: float = -0.1, spoken: FreeRunning | None = None) -> None:
        """`missed`: by how much it misses its diagonality; healthy if negative. `spoken`: what it said, where it was judged."""
        last = report(float(BUDGET))
        self.reports(trial, last)
        publish(self.study, trial, self.files, self.out)
        why = f"misses diagonality by {missed:.2f}" if missed > 0 else None
        ending = TrialResult(value=value, reason=why, violations={"diagonality": missed}, last=last, best=last, seconds=72.0)
        ending.spoken = spoken
        tell(self.study, trial, ending, "tpe")

    def prune(self, trial: optuna.Trial, by: str = "diagonality", *reports: Report, why: str = REASON) -> None:
        reports = reports or (report(60.0), report(120.0))
        self.reports(trial, *reports)
        publish(self.study, trial, self.files[:1], self.out)
        ending = TrialResult("PRUNED", reason=why, pruned_by=by, severity=0.5, last=reports[-1], seconds=20.0)
        tell(self.study, trial, ending, "tpe")

    def lose(self, trial: optuna.Trial, why: str = "its worker died", died: bool = True) -> None:
        release(self.study, trial.number, why, died=died)

    def fail(self, trial: optuna.Trial) -> None:
        self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def state(self, **changes: Any) -> StudyState:
        """Return what the reporter's observer would see, with some `changes`."""
        running = [trial for trial in self.trials if trial.state.name == "RUNNING" and "health" in trial.user_attrs]
        decisions = {trial.number: judge(trial.user_attrs["health"], shipped_rules(Thresholds())) for trial in running}
        state = StudyState(NAME, self.trials, wanted=self.wanted, budget_kframes=BUDGET, decisions=decisions)
        return replace(state, **changes)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def voice(heard: str | None, errors: float | None = None, *faults: Fault) -> FreeRunning:
    """Return two sentences, the longer one as it was heard; None without a listener."""
    floor = None if heard is None else 0.002
    said = [Spoken("yes.", 0.5, 0.5, 0.0, 0.0, heard and "yes", 0.0 if heard is not None else None)]
    said.append(Spoken("we share <one> kitchen.", 1.5, 1.4, 0.0, 0.1, heard, errors, faults=faults))
    return FreeRunning(tuple(said), alignment_score=0.5, mcd_db=6.0, recorded_errors=floor)


def sick(kframes: float, norm: float = 400.0) -> Report:
    """Return a report whose gradient norm has this 95th percentile."""
    return replace(report(kframes), gradients=replace(report().gradients, p95=norm, median=norm / 3))


# The first line of each message that reports `eventful_study`, in order, without the board.
REPORTED = [
    "▶️ anna: 4 of 6 trials finished, budget 500 kframes (thousand mel frames) per trial",
    "⭐ trial 0: 0.600, best so far",
    "trial 0: attention and curves",
    "trial 0: synthesized sample",
    "✂️ trial 1 pruned by diagonality, last value 0.900",
    "trial 1: attention and curves",
    "🔧 trial 2 repairs trial 1: training.learning_rate 0.002 -> 0.001",
    "⭐ trial 2: 0.500, best so far",
    "trial 2: attention and curves",
    "trial 2: synthesized sample",
    "💥 trial 3 lost: its worker died; its configuration will be retried",
    "↪️ trial 5 retries the configuration of trial 3",
    "⚠️ trial 5: 0.550, sick",
    "trial 5: attention and curves",
    "trial 5: synthesized sample",
    "✋ trial 6 was stopped by hand; its configuration will not be retried",
    "⏹ anna stopped: 4 of 6 trials finished",
]


def eventful_study(out: Path, files: list[Path]) -> StudyBuilder:
    """Build a study in which everything happens that can happen to a trial."""
    builder = StudyBuilder(out, files=files)
    builder.complete(builder.begin(origin="recipe tacotune"), 0.6)
    builder.prune(builder.begin({**PARAMS, "network.reduction": 1}))
    repair = {"repair_of": 1, "repair_depth": 1, "repair_why": REASON, "changes": CHANGES, "origin": "repair of trial 1"}
    builder.complete(builder.begin({**PARAMS, "training.learning_rate": 0.001}, **repair), 0.5)
    builder.lose(builder.begin())
    builder.lose(builder.begin(), "interrupted", died=False)  # its command was stopped, which is an event of the study
    builder.complete(builder.begin(again_of=3), 0.55, missed=0.2)
    builder.fail(builder.begin())
    return builder
