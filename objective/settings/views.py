"""The views that the study command can start, each in a process of its own: one table, from which everything else follows.

Its rows give the flags of the study command (flags.py), the settings `watch.NAME` (schema.py), the commands `tacotune NAME`
(objective/__main__.py), and what the launcher starts (objective/views/launcher.py). To add a view, write its program, a module
with a function `run(parsed)` such as objective/views/tensorboard_events.py, and add its row here.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from storage.paths import sqlite_url

MLFLOW_VARIABLE = "MLFLOW_TRACKING_URI"  # MLflow's own: a URI may hold a password, which no process title shows


@dataclass(frozen=True, slots=True)
class View:
    """A view. Its command is `tacotune NAME`, its setting `watch.NAME`, and what it prints goes to `NAME.log`."""

    name: str
    about: str  # what the command does, in a few words
    flag: str  # of the study command, and its help
    help: str
    kind: Literal["switch", "port", "text"] = "switch"  # type of the setting
    metavar: str = "BOOL"
    bare: str = "true"  # what the flag means without a value
    command: str = ""  # the module with the command's parser, or
    program: str = ""  # where --study, --out and --once are all its flags: the module whose `run(parsed)` does the work
    # From the settings (schema.py), what the study command passes on besides --out and --study.
    arguments: Callable[[Any], list[str]] = lambda settings: []
    environment: Callable[[Any], dict[str, str]] = lambda settings: {}
    # From the setting's value, the folder of all studies and the study's number in its database: an address, or a command.
    how_to_open: Callable[[Any, Path, int], str | None] = lambda value, out, study_id: None


def tracking_uri(value: str | None, out: Path) -> str:
    """Return the URI under which MLflow keeps its runs: `value`, else the environment's, else a SQLite file in `out`."""
    given = None if value == "auto" else value
    return given or os.environ.get(MLFLOW_VARIABLE) or sqlite_url(out / "mlflow.db")


def _open_mlflow(value: str | None, out: Path, study_id: int) -> str:
    uri = tracking_uri(value, out)
    if uri.startswith("http"):
        return f"{uri} (Model training)"  # MLflow 3 begins with the pages for language models
    page = "#/experiments/1?workflowType=machine_learning"  # the first experiment that is made in a database has the number 1
    return f"mlflow server --backend-store-uri {shlex.quote(uri)}, then open http://127.0.0.1:5000/{page}"


def _open_tensorboard(value: bool, out: Path, study_id: int) -> str:
    return f"tensorboard --logdir {shlex.quote(str(out / 'tensorboard'))}, then open http://127.0.0.1:6006"


VIEWS = {
    view.name: view
    for view in (
        View(
            name="dashboard",
            about="look at studies in a browser",
            flag="--with-dashboard",
            help="serve optuna-dashboard on this port of this machine (default 8080)",
            kind="port",
            metavar="PORT",
            bare="8080",
            command="objective.dashboard.__main__",
            arguments=lambda settings: ["--port", str(settings.watch.dashboard)],
            how_to_open=lambda port, out, study_id: f"http://127.0.0.1:{port}/dashboard/studies/{study_id}",
        ),
        View(
            name="mlflow",
            about="show a study in MLflow",
            flag="--mlflow",
            help="log to MLflow: a tracking URI; without a value, a SQLite file under --out",
            kind="text",
            metavar="URI",
            bare="auto",
            command="objective.mlflow",
            environment=lambda settings: {MLFLOW_VARIABLE: tracking_uri(settings.watch.mlflow, settings.out)},
            how_to_open=_open_mlflow,
        ),
        View(
            name="tensorboard",
            about="show a study in TensorBoard",
            flag="--tensorboard",
            help="write TensorBoard's files under --out/tensorboard",
            program="objective.views.tensorboard_events",
            how_to_open=_open_tensorboard,
        ),
        View(
            name="telegram",
            about="report a study to Telegram",
            flag="--telegram",
            help="report to Telegram: TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID in the environment",
            command="objective.telegram.__main__",
            arguments=lambda settings: ["--language", settings.telegram.language],
        ),
    )
}
