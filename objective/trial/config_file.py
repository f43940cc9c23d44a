"""The file config.yaml of a trial: its whole configuration, which `train --settings` takes as it is."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import yaml

from model.config import Config
from model.files import atomic_write
from objective.trial.context import WorkerContext


def write_config(path: Path, trial: optuna.Trial, config: Config, context: WorkerContext, seed: int) -> None:
    """Write the configuration of a trial, with what it was sampled from and started from."""
    values: dict[str, Any] = {
        "trial": trial.number,
        "study": context.settings.study.name,
        "seed": seed,
        "language": context.corpus.language.code,
        "input": context.corpus.language.input,
        "stress": context.corpus.language.stress,
        "budget_kframes": context.settings.budget.total_kframes,
        **(
            {"warm_start": {"file": str(context.data.pretrained.path), "digest": context.data.pretrained.digest}}
            if context.data.pretrained
            else {}
        ),
        "params": dict(trial.params),
        **asdict(config),
    }
    with atomic_write(path) as part:
        part.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
