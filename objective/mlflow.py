"""A study in MLflow: `python -m objective.mlflow --study NAME`.

It reads the JSON lines and nothing else. In the experiment `tacotune` stands a run for the study, and below it one for each
point: a trial that goes on where a machine stopped another reopens that one's run. MLflow is asked what it has, by tags, and
told what is missing, so this command may be killed at any moment, started twice, or pointed at an empty server.

Where to: --uri, else MLFLOW_TRACKING_URI, else a SQLite file under --out.
Exit codes: 0 done, 1 the machine failed, 2 bad input.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objective.events.log_reader import StudyLog, Trial
from objective.settings.schema import mask_url
from objective.views.follow import Away, follow, say, words
from objective.views.metrics import clock, measures, step
from storage.outcome import ENDED_OUTSIDE
from storage.paths import ARTIFACT_FILES, trial_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

EXPERIMENT = "tacotune"
PLACES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
# A dead server is noticed in seconds, and nobody else is told anything. Who has set one of these knows better.
MANNERS = {
    **{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"},
    **{"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"},
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
ENDS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
WISHES = ("interrupted", ENDED_OUTSIDE)  # of a FAIL: a person's reasons, not the machine's
AT_ONCE = 500  # metrics in a call; MLflow takes 1,000


@dataclass(slots=True)
class Run:
    """A run in MLflow, as far as it was asked."""

    id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: set[tuple[str, int, float]] | None = None  # name, step, value; None: not asked for yet
    files: set[str] = field(default_factory=set)  # uploaded by this process

    @property
    def trial(self) -> int | None:
        """The newest trial of its point; None: it is the study's."""
        number = self.tags.get("tacotune.trial")
        return None if number is None else int(number)


class Mlflow:
    """Makes MLflow hold what the study_log says."""

    name = "mlflow"

    def __init__(self, study_log: StudyLog, uri: str, out: Path) -> None:
        self.study_log, self.uri = study_log, uri
        self.artifacts = None if uri.startswith("http") else (out / "mlartifacts").resolve().as_uri()
        self._connected: MlflowClient | None = None
        self._experiment = self._identity = ""
        self._runs: dict[int | None, Run] = {}  # by the newest trial of the point

    def there(self) -> bool:
        return True

    def show(self, number: int | None) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self._connected is None or self._identity != self.study_log.identity:
                self._connected = self._connect()
            if number is None:
                self._study(self._connected)
            else:
                self._point(self._connected, self.study_log.attempts(number))
        except (MlflowException, SQLAlchemyError, OSError) as why:
            if isinstance(why, MlflowException) and why.error_code == "INVALID_PARAMETER_VALUE":
                what = "the study" if number is None else f"trial {number}"
                say(f"mlflow: not all of {what} is there: {_told(why)}")  # it answers, and refuses this one alone
                return
            self._connected = None  # when it is there again, it may be another, or an empty one
            raise Away(f"no answer from {mask_url(self.uri)}: {_told(why)}") from why

    def _connect(self) -> "MlflowClient":
        """Ask for the experiment, and for what is there of this study."""
        import mlflow.store.db.utils
        from mlflow import MlflowClient

        mlflow.store.db.utils.MAX_RETRY_COUNT = 2  # or it waits for a database for minutes, without a word
        client = MlflowClient(self.uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        if known is not None and known.lifecycle_stage == "deleted":
            raise OSError(f"need the experiment {EXPERIMENT}, which was deleted: restore it")
        self._experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, self.artifacts)
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

    def _study(self, client: "MlflowClient") -> Run:
        """The run of the study."""
        end = self.study_log.end
        tags = {"study": self.study_log.folder.name, "why": "", "finished": ""}
        if end is not None:
            tags |= {"why": end["why"], "finished": f"{end['finished']} of {end['wanted']}"}
        run = self._runs.get(None) or self._create(client, None, self.study_log.folder.name, self.study_log.began, {})
        self._tell(client, run, [], {}, tags)
        if end is not None:
            self._close(client, run, "FINISHED" if end["finished"] >= end["wanted"] else "KILLED", end["at"])
        elif run.status != "RUNNING":
            self._reopen(client, run, None)
        return run

    def _point(self, client: "MlflowClient", trials: Sequence[Trial]) -> None:
        """The run of a point that `trials` have had, one after the other."""
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
        self._tell(client, run, new, {key: str(value) for key, value in newest.params.items()}, _tags(newest))
        self._upload(client, run, newest)
        if newest.end is not None:
            wished = newest.state == "FAIL" and newest.end["reason"] in WISHES
            self._close(client, run, "KILLED" if wished else ENDS[newest.state], newest.end["at"])

    def _metrics(self, trials: Sequence[Trial]) -> Iterator["Metric"]:
        """All that was reported at a point. What a worker that died has reported, the next one may report again: where both say
        the same, once is enough. The time of a report is the first trial's start and the seconds of training since.
        """
        from mlflow.entities import Metric

        seen = set()
        for trial in trials:
            points = [
                (name, value, clock(trials[0].began) + report.seconds, step(report.kframes))
                for report in self.study_log.reports(trial.number)
                for name, value in measures(report).items()
            ]
            if trial.state == "COMPLETE" and trial.end is not None and trial.end["value"] is not None:
                points.append(("value", trial.end["value"], clock(trial.end["at"]), step(trial.end["kframes"])))
            for name, value, seconds, at in points:
                if (name, at, value) not in seen:
                    seen.add((name, at, value))
                    yield Metric(name, value, round(1_000 * seconds), at)

    def _logged(self, client: "MlflowClient", run: Run) -> Iterator[tuple[str, int, float]]:
        for name in client.get_run(run.id).data.metrics:
            for metric in client.get_metric_history(run.id, name):
                yield name, metric.step, metric.value

    def _create(self, client: "MlflowClient", trial: int | None, name: str, began: str, tags: dict[str, str]) -> Run:
        tags = tags | {"tacotune.journal": self._identity, "tacotune.study": self.study_log.folder.name}
        if trial is not None:
            tags["tacotune.trial"] = str(trial)
        made = client.create_run(self._experiment, round(1_000 * clock(began)), tags, name)
        run = self._runs[trial] = Run(made.info.run_id, made.info.status, tags, metrics=set())
        return run

    def _reopen(self, client: "MlflowClient", run: Run, name: str | None) -> None:
        client.update_run(run.id, "RUNNING", name)
        run.status = "RUNNING"

    def _tell(
        self, client: "MlflowClient", run: Run, metrics: "Sequence[Metric]", params: dict[str, str], tags: dict[str, str]
    ) -> None:
        """Add what `run` does not have, in as few calls as it takes."""
        from mlflow.entities import Param, RunTag

        tags = {f"tacotune.{key}": value for key, value in tags.items()}
        new_tags = [RunTag(key, value) for key, value in tags.items() if run.tags.get(key) != value]
        new_params = [Param(key, value) for key, value in params.items() if key not in run.params]
        for first in range(0, max(len(metrics), bool(new_tags or new_params)), AT_ONCE):
            part = metrics[first : first + AT_ONCE]
            client.log_batch(run.id, part, () if first else new_params, () if first else new_tags)
            if run.metrics is not None:
                run.metrics |= {(metric.key, metric.step, metric.value) for metric in part}
        run.tags |= tags
        run.params |= params

    def _upload(self, client: "MlflowClient", run: Run, trial: Trial) -> None:
        """The configuration, and of a trial that has ended what there is to see and to hear."""
        folder = trial_folder(self.study_log.folder, trial.number)
        for file in (folder / name for name in ("config.yaml", *(ARTIFACT_FILES if trial.end is not None else ()))):
            if str(file) not in run.files and file.exists():
                client.log_artifact(run.id, str(file))
                run.files.add(str(file))

    def _close(self, client: "MlflowClient", run: Run, status: str, at: str) -> None:
        if run.status != status:
            client.set_terminated(run.id, status, round(1_000 * clock(at)))
            run.status, run.metrics = status, None  # thousands of trials would need hundreds of megabytes


def _told(why: BaseException) -> str:
    """What lies at the bottom of an error, on one line and without a password."""
    while (deeper := why.__cause__ or why.__context__) is not None:
        why = deeper
    return mask_url(" ".join(str(why).split()))


def _tags(trial: Trial) -> dict[str, str]:
    """All of them always, so that nothing stays of the trial before."""
    end: dict[str, Any] = trial.end or {}
    said = {name: str(end.get(name) or "") for name in ("reason", "pruned_by")}
    return {"trial": str(trial.number), "origin": trial.origin, "state": trial.state, **said}


def place(uri: str | None, out: Path) -> str:
    """The tracking URI. Raises ValueError where MLflow keeps no runs at such a one."""
    file = str(out / "mlflow.db").replace("%", "%25").replace("?", "%3F")  # signs that mean something in a URL
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{file}"
    if re.split(r"[:+]", uri)[0] not in PLACES:
        rule = "need a tracking URI such as http://HOST:5000, sqlite:///FILE or postgresql://..."
        raise ValueError(f"{rule}, got {mask_url(uri)}: MLflow no longer keeps runs in folders")
    return uri


def main(arguments: list[str] | None = None) -> int:
    parser = words(__doc__)
    parser.add_argument("--uri", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI, else OUT/mlflow.db)")
    parser.add_argument("--once", action="store_true", help="log what there is, and end")
    parsed = parser.parse_args(arguments)
    try:
        uri = place(parsed.uri, parsed.out)
    except ValueError as why:
        say(str(why))
        return 2
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning
    lock = f".mlflow-{sha256(uri.encode()).hexdigest()[:8]}.lock"
    return follow("mlflow", parsed, lambda study_log: Mlflow(study_log, uri, parsed.out), lock)


if __name__ == "__main__":
    sys.exit(main())
