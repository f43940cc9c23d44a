"""Show a study in MLflow, and read back with MLflow's own client what it holds."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from objective.events.log_reader import StudyLog
from objective.views.mlflow_runs import MlflowRuns
from tests.objective.watched import reports

TERMS = ("mel_before", "mel_after", "gate")


def shown(folder: Path, uri: str) -> MlflowRuns:
    """A view that was started, has shown all, and ended."""
    view = MlflowRuns(StudyLog(folder), uri, folder.parent)
    show(view)
    return view


def show(view: MlflowRuns) -> None:
    for number in view.study_log.look():
        view.show(number)


def held(uri: str) -> dict[str, dict[str, Any]]:
    """Return all that MLflow has, by the names of the runs, without their ids, which are random."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tacotune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(names), "no run is there twice"
    return {
        run.info.run_name: {
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "tags": run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "params": run.data.params,
            "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
            "metrics": sorted(
                (metric.key, metric.step, metric.value, metric.timestamp)
                for name in run.data.metrics
                for metric in client.get_metric_history(run.info.run_id, name)
            ),
        }
        for run in runs
    }


def expected(report: dict[str, Any]) -> dict[str, float]:
    """Compute the numbers of a line of reports.jsonl; those of free-running synthesis are in some lines only."""
    train, validation = (sum(report[part][name] for name in TERMS) for part in ("train", "validation"))
    health = report["health"]
    return {
        "training.loss": train,
        "validation.loss": validation,
        "grad.norm": report["gradients"]["median"],
        "alignment.diagonality": health["diagonality"],
        "alignment.reading": health["reading"],
        "alignment.coverage": health["coverage"],
        "alignment.focus": health["focus"],
        "gate.accuracy": health["gate_accuracy"],
        "overfitting.gap": (validation - train) / train,
        "learning_rate": report["learning_rate"],
        **{f"free.{name}": value for name, value in report["free"].items() if value is not None},
    }


def assert_equal_to_the_lines(runs: dict[str, dict[str, Any]], study: Path) -> None:
    assert set(runs) == {study.name, "trial 0", "trial 2", "trial 3"}
    for number in (0, 2, 3):
        read = [metric[:3] for metric in runs[f"trial {number}"]["metrics"] if metric[0] != "value"]
        written = [
            (name, round(report["kframes"]), value)
            for report in reports(study, number)
            for name, value in expected(report).items()
            if value is not None
        ]
        assert read == sorted(written)
