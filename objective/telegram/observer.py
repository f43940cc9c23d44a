"""What the reporter sees: the study at one moment, made of its storage and of what the rules say about the trials that run."""

import time
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError

from objective.search.control import PAUSED
from objective.settings.telegram_env import SetupError
from objective.telegram.event_queue import Scene
from objective.views.launcher import Command
from pruners.combinators import rules
from pruners.rules import Decision, judge
from pruners.thresholds import Levels
from storage.leases import Watch
from storage.optuna_private import storage_of, study_id

IDLE_S = 600.0  # without anybody who works, after which a study has stopped


class Looks:
    """Asked again and again, in one thread: it remembers when somebody was seen at work last. Raises SetupError."""

    def __init__(self, study: optuna.Study, command: Command) -> None:
        self.study, self.command = study, command
        settings = study.user_attrs["settings"]
        try:
            levels, self._watch = TypeAdapter(Levels).validate_python(settings["health"]), Watch(settings["study"]["grace_s"])
        except (KeyError, ValidationError) as why:
            way_out = "type its own command again, which writes them anew"
            raise SetupError(f"the settings of study {study.study_name} are of another version: {way_out}") from why
        self._rules, self._judged = rules(levels), dict[int, tuple[float, tuple[Decision, ...]]]()
        self.alive, self.ended_at = time.monotonic(), 0.0  # when somebody worked last; when the command's end was seen

    def attributes(self) -> dict[str, Any]:
        return storage_of(self.study).get_study_user_attrs(study_id(self.study))

    def look(self) -> Scene:
        trials, attributes = self.study.get_trials(deepcopy=False), self.attributes()
        settings, paused = attributes["settings"], bool(attributes.get(PAUSED))
        running = [trial for trial in trials if not trial.state.is_finished() and trial.user_attrs.get("health")]
        self._judged = {trial.number: self._judge(trial) for trial in running}
        return Scene(
            name=self.study.study_name,
            trials=trials,
            wanted=settings["study"]["trials"],
            budget_kframes=settings["budget"]["kframes"],
            found={number: found for number, (_, found) in self._judged.items()},
            paused=paused,
            stopped=self._stopped(trials, paused),
            flags=_flags(settings),
        )

    def _judge(self, trial: FrozenTrial) -> tuple[float, tuple[Decision, ...]]:
        """What the rules say at the last report; asked once for each."""
        record = trial.user_attrs["health"]
        at, before = record["kframes"][-1] if record["kframes"] else 0.0, self._judged.get(trial.number)
        return before if before is not None and before[0] == at else (at, judge(record, self._rules))

    def _stopped(self, trials: list[FrozenTrial], paused: bool) -> str | None:
        """Why nobody works on the study any more, None while somebody does. Of several commands the last one ends it."""
        now, alive = time.monotonic(), self._watch.look(trials)[0]
        if alive or paused:
            self.alive = now
        if self.command.ended.is_set():
            self.ended_at = self.ended_at or now
            return None if alive else self.command.why
        return "idle" if not self.command.there and now > self.alive + IDLE_S else None


def _flags(settings: dict[str, Any]) -> tuple[str, ...]:
    """What the command of a further study on the same recordings has in common with this one's."""
    data = settings["data"]
    common = {"--data": data["path"], "--language": data["language"], "--storage": settings["study"]["storage"]}
    return tuple(word for flag, value in common.items() if value not in (None, "en") for word in (flag, str(value)))
