"""Read the study from its storage, with what the health rules decide about the trials that run."""

import time
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError

from objective.search.control import PAUSED
from objective.settings.telegram_env import SetupError
from objective.telegram.event_queue import StudyState
from objective.views.launcher import StudyCommand
from pruners.decision import Decision, judge
from pruners.rules import shipped_rules
from pruners.thresholds import Thresholds, renamed
from storage.leases import Watch
from storage.optuna_private import storage_of, study_id

IDLE_S = 600.0  # without an active worker, after which a study counts as stopped


class Observer:
    """Reads the study repeatedly, from one thread, and remembers when a worker was last active.

    `command` is the study's own command, if this reporter was started by it. Raises SetupError.
    """

    def __init__(self, study: optuna.Study, command: StudyCommand) -> None:
        self.study, self.command = study, command
        settings = study.user_attrs["settings"]
        try:
            thresholds = TypeAdapter(Thresholds).validate_python(renamed(settings["health"]))
            self._watch = Watch(settings["study"]["grace_s"])
        except (KeyError, ValidationError) as why:
            way_out = "run the study's own command once more, which writes them anew"
            raise SetupError(f"the settings of study {study.study_name} are of another version: {way_out}") from why
        self._rules, self._judged = shipped_rules(thresholds), dict[int, tuple[float, tuple[Decision, ...]]]()
        self.last_active = time.monotonic()
        self.command_ended_at = 0.0  # when that was noticed; 0 before

    def attributes(self) -> dict[str, Any]:
        return storage_of(self.study).get_study_user_attrs(study_id(self.study))

    def observe(self) -> StudyState:
        trials, attributes = self.study.get_trials(deepcopy=False), self.attributes()
        settings, paused = attributes["settings"], bool(attributes.get(PAUSED))
        running = [trial for trial in trials if not trial.state.is_finished() and trial.user_attrs.get("health")]
        self._judged = {trial.number: self._judge(trial) for trial in running}
        return StudyState(
            name=self.study.study_name,
            trials=trials,
            wanted=settings["study"]["trials"],
            budget_kframes=settings["budget"]["kframes"],
            decisions={number: decisions for number, (_, decisions) in self._judged.items()},
            paused=paused,
            stopped=self._stopped(trials, paused),
            flags=_flags(settings),
        )

    def _judge(self, trial: FrozenTrial) -> tuple[float, tuple[Decision, ...]]:
        """Return the kframes of the last report and the rules' decisions about it, which are made once per report."""
        record = trial.user_attrs["health"]
        kframes, earlier = record["kframes"][-1] if record["kframes"] else 0.0, self._judged.get(trial.number)
        return earlier if earlier is not None and earlier[0] == kframes else (kframes, judge(record, self._rules))

    def _stopped(self, trials: list[FrozenTrial], paused: bool) -> str | None:
        """Return why no worker is active any more, None while one is. Of several commands the last one ends the study."""
        now, alive = time.monotonic(), self._watch.classify(trials)[0]
        if alive or paused:
            self.last_active = now
        if self.command.ended.is_set():
            self.command_ended_at = self.command_ended_at or now
            return None if alive else self.command.why
        return "idle" if not self.command.present and now > self.last_active + IDLE_S else None


def _flags(settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the flags that the command of a further study on the same recordings shares with this study's."""
    data = settings["data"]
    common = {"--data": data["path"], "--language": data["language"], "--storage": settings["study"]["storage"]}
    return tuple(word for flag, value in common.items() if value not in (None, "en") for word in (flag, str(value)))
