"""Make MLflow hold what the lines of a study say: a run for the study, and below it one for each configuration.

A trial that resumes an interrupted one reopens the run of that one. The view reads from MLflow what is there, finds it by tags,
and logs what is missing: so it may be killed at any moment, run twice, or given an empty server.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow.store.db.utils
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from model.errors import BadInput
from objective.events.log_reader import StudyLog, Trial
from objective.settings.schema import mask_url
from objective.settings.tracking import artifact_location, innermost
from objective.views import descriptions
from objective.views.follow import Away, report
from objective.views.metrics import clock, measures, step
from storage.outcome import ENDED_OUTSIDE
from storage.paths import ARTIFACT_FILES, trial_folder

EXPERIMENT = "tacotune"
NOTE = "mlflow.note.content"  # MLflow's tag of a description
KIND = {"mlflow.experimentKind": "custom_model_development"}  # MLflow 3 then opens it as training runs
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
BY_A_PERSON = ("interrupted", ENDED_OUTSIDE)  # reasons of a FAIL: not the machine's
BATCH = 500  # metrics in a call; MLflow takes 1,000


@dataclass(slots=True)
class Run:
    """A run in MLflow, as far as it was read."""

    id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: set[tuple[str, int, float]] | None = None  # name, step, value; None: not read yet
    files: set[str] = field(default_factory=set)  # uploaded by this process

    @property
    def trial(self) -> int | None:
        """The newest trial of its configuration; None: it is the study's run."""
        number = self.tags.get("tacotune.trial")
        return None if number is None else int(number)


class MlflowRuns:
    """The view."""

    name = "mlflow"

    def __init__(self, study_log: StudyLog, uri: str, out: Path) -> None:
        self.study_log, self.uri = study_log, uri
        self.artifacts = artifact_location(uri, out)
        self._connected: MlflowClient | None = None
        self._experiment = self._identity = ""
        self._runs: dict[int | None, Run] = {}  # by the newest trial of the configuration

    def intact(self) -> bool:
        return True

    def show(self, number: int | None) -> None:
        self._write(number, None)

    def command_lost(self, why: str) -> None:
        self._write(None, why)

    def _write(self, number: int | None, lost: str | None) -> None:
        try:
            if self._connected is None or self._identity != self.study_log.identity:
                self._connected = self._connect()
            if number is None:
                self._study(self._connected, lost)
            else:
                self._configuration(self._connected, self.study_log.attempts(number))
        except ImportError as why:
            raise BadInput(f"need the driver of {mask_url(self.uri)}, got {why}: install it with pip") from why
        except (MlflowException, SQLAlchemyError, OSError) as why:
            if isinstance(why, MlflowException) and why.error_code == "INVALID_PARAMETER_VALUE":
                what = "the study" if number is None else f"trial {number}"
                report(f"mlflow: not all of {what} is there: {innermost(why)}")  # it answers, and refuses this one alone
                return
            self._connected = None  # when it is back, it may be another, or an empty one
            raise Away(f"no answer from {mask_url(self.uri)}: {innermost(why)}") from why

    def _connect(self) -> MlflowClient:
        """Open the experiment, and read which runs of this study it has."""
        mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # or it waits for a database for minutes, silently
        client = MlflowClient(self.uri)
        self._experiment = self._open_experiment(client)
        self._identity, self._runs = self.study_log.identity, {}
        token = None
        while token != "":
            mine = f"tags.`tacotune.journal` = '{self._identity}'"
            page = client.search_runs([self._experiment], mine, max_results=1_000, page_token=token)
            for found in page:
                run = Run(found.info.run_id, found.info.status, dict(found.data.tags), dict(found.data.params))
                self._runs[run.trial] = run
            token = page.token or ""
        return client

    def _open_experiment(self, client: MlflowClient) -> str:
        """Return the id of the experiment; it is created where it is missing, and older ones get the tags that they lack."""
        tags, found = {**KIND, NOTE: descriptions.EXPERIMENT}, client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(client.create_experiment(EXPERIMENT, self.artifacts, tags))
        if found.lifecycle_stage == "deleted":
            raise OSError(f"need the experiment {EXPERIMENT}, which was deleted: restore it")
        for name in tags.keys() - found.tags.keys():
            client.set_experiment_tag(found.experiment_id, name, tags[name])
        return str(found.experiment_id)

    def _study(self, client: MlflowClient, lost: str | None = None) -> Run:
        """Write the run of the study. `lost`: why its command is over, where no line says so."""
        log, end = self.study_log, self.study_log.end
        run = self._runs.get(None) or self._create(client, None, log.folder.name, log.began, {})
        if end is None and lost is None and run.status != "RUNNING":
            if run.tags.get("tacotune.lost_command") == str(log.commands):
                return run  # and no other command has begun
            self._reopen(client, run, None)
        tags = {"tacotune.study": log.folder.name, "tacotune.why": lost or "", "tacotune.finished": ""}
        tags["tacotune.lost_command"] = str(log.commands) if lost is not None else ""
        if end is not None:
            tags |= {"tacotune.why": end["why"], "tacotune.finished": f"{end['finished']} of {end['wanted']}"}
        self._add(client, run, [], {}, tags | {NOTE: descriptions.of_study(log, lost)})
        if end is not None:
            self._close(client, run, "FINISHED" if end["finished"] >= end["wanted"] else "KILLED", clock(end["at"]))
        elif lost is not None:
            self._close(client, run, "KILLED" if lost == "killed" else "FAILED", time.time())
        return run

    def _configuration(self, client: MlflowClient, trials: Sequence[Trial]) -> None:
        """Write the run of a configuration that `trials` have had, one after the other."""
        newest, name = trials[-1], f"trial {trials[-1].number}"
        run = next((self._runs[trial.number] for trial in reversed(trials) if trial.number in self._runs), None)
        if run is None:
            parent = self._runs.get(None) or self._study(client)
            run = self._create(client, newest.number, name, trials[0].began, {"mlflow.parentRunId": parent.id})
        elif run.trial == newest.number and run.status != "RUNNING":
            return  # how it ended is written last: nothing is missing
        elif run.trial != newest.number:
            self._reopen(client, run, name)
            del self._runs[run.trial]
            self._runs[newest.number] = run
        if run.metrics is None:
            run.metrics = set(self._logged(client, run))
        new = [metric for metric in self._metrics(trials) if (metric.key, metric.step, metric.value) not in run.metrics]
        self._add(client, run, new, {key: str(value) for key, value in newest.params.items()}, _tags(newest))
        self._upload(client, run, newest)
        if newest.end is not None:
            by_a_person = newest.state == "FAIL" and newest.end["reason"] in BY_A_PERSON
            self._close(client, run, "KILLED" if by_a_person else STATUS[newest.state], clock(newest.end["at"]))

    def _metrics(self, trials: Sequence[Trial]) -> Iterator[Metric]:
        """Yield all that was reported of a configuration, equal reports once.

        What a worker that died has reported, the next one may report again. The time of a report is the first trial's start
        and the seconds of training since.
        """
        seen = set()
        for trial in trials:
            measured = [
                (name, value, clock(trials[0].began) + report.seconds, step(report.kframes))
                for report in self.study_log.reports(trial.number)
                for name, value in measures(report).items()
            ]
            if trial.state == "COMPLETE" and trial.end is not None and trial.end["value"] is not None:
                measured.append(("value", trial.end["value"], clock(trial.end["at"]), step(trial.end["kframes"])))
            for name, value, seconds, at in measured:
                if (name, at, value) not in seen:
                    seen.add((name, at, value))
                    yield Metric(name, value, round(1_000 * seconds), at)

    def _logged(self, client: MlflowClient, run: Run) -> Iterator[tuple[str, int, float]]:
        for name in client.get_run(run.id).data.metrics:
            for metric in client.get_metric_history(run.id, name):
                yield name, metric.step, metric.value

    def _create(self, client: MlflowClient, trial: int | None, name: str, began: str, tags: dict[str, str]) -> Run:
        tags = tags | {"tacotune.journal": self._identity, "tacotune.study": self.study_log.folder.name}
        if trial is not None:
            tags["tacotune.trial"] = str(trial)
        made = client.create_run(self._experiment, round(1_000 * clock(began)), tags, name)
        run = self._runs[trial] = Run(made.info.run_id, made.info.status, tags, metrics=set())
        return run

    def _reopen(self, client: MlflowClient, run: Run, name: str | None) -> None:
        client.update_run(run.id, "RUNNING", name)
        run.status = "RUNNING"

    def _add(
        self, client: MlflowClient, run: Run, metrics: Sequence[Metric], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        """Add what `run` does not have, in as few calls as it takes."""
        new_tags = [RunTag(key, value) for key, value in tags.items() if run.tags.get(key) != value]
        new_params = [Param(key, value) for key, value in params.items() if key not in run.params]
        for first in range(0, max(len(metrics), bool(new_tags or new_params)), BATCH):
            part = metrics[first : first + BATCH]
            client.log_batch(run.id, part, () if first else new_params, () if first else new_tags)
            if run.metrics is not None:
                run.metrics |= {(metric.key, metric.step, metric.value) for metric in part}
        run.tags |= tags
        run.params |= params

    def _upload(self, client: MlflowClient, run: Run, trial: Trial) -> None:
        """Upload the configuration, and of a trial that has ended its pictures and sounds."""
        folder = trial_folder(self.study_log.folder, trial.number)
        for file in (folder / name for name in ("config.yaml", *(ARTIFACT_FILES if trial.end is not None else ()))):
            if str(file) not in run.files and file.exists():
                client.log_artifact(run.id, str(file))
                run.files.add(str(file))

    def _close(self, client: MlflowClient, run: Run, status: str, at: float) -> None:
        if run.status != status:
            client.set_terminated(run.id, status, round(1_000 * at))
            run.status, run.metrics = status, None  # thousands of trials would need hundreds of megabytes


def _tags(trial: Trial) -> dict[str, str]:
    """Return all tags of a trial's run, empty ones too, so that nothing stays of the trial before."""
    end: dict[str, Any] = trial.end or {}
    tags = {"trial": str(trial.number), "origin": trial.origin, "state": trial.state}
    tags |= {name: str(end.get(name) or "") for name in ("reason", "pruned_by")}
    tags["heard"] = trial.spoken.get("heard") or ""
    return {f"tacotune.{name}": value for name, value in tags.items()} | {NOTE: descriptions.of_trial(trial)}
