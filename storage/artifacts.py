"""Pictures and sounds of trials in Optuna's artifact store, where optuna-dashboard shows them next to the trial.

All studies of an output folder share one store, its folder `artifacts`. Optuna's own `upload_artifact` records a file in the
study before the file exists; here the complete file lies in the store first, and is recorded in the study afterwards.
"""

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import optuna
from optuna.artifacts import ArtifactMeta
from optuna.trial import FrozenTrial

from model.files import atomic_write
from storage.optuna_private import ARTIFACT_PREFIX, ArtifactStore, storage_of, trial_id
from storage.paths import ARTIFACTS

KINDS = {".png": "image/png", ".wav": "audio/wav", ".ogg": "audio/ogg"}


def artifact_store(out: Path) -> ArtifactStore:
    """Return the store of all studies in the folder `out`."""
    return ArtifactStore(out / ARTIFACTS)


def publish(study: optuna.Study, trial: optuna.Trial, files: Sequence[Path], out: Path) -> None:
    """Upload those of `files` that exist, for a trial that has not ended. Raises OSError and the database's errors."""
    for file in files:
        if file.exists():
            storage_of(study).set_trial_system_attr(trial_id(trial), *store_file(file, file.name, out))


def store_file(file: Path, name: str, out: Path) -> tuple[str, str]:
    """Copy a file into the store of `out`. Raises OSError.

    Returns the name and the value of the system attribute that lists the file as `name` among the artifacts of a trial.
    """
    meta = ArtifactMeta(str(uuid.uuid4()), name, KINDS[Path(name).suffix], encoding=None)
    place = artifact_store(out).path(meta.artifact_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(place) as part:
        shutil.copyfile(file, part)
    return ARTIFACT_PREFIX + meta.artifact_id, json.dumps(asdict(meta))


def artifacts(study: optuna.Study, trial: FrozenTrial, out: Path) -> dict[str, Path]:
    """Return the paths of the files of a trial, by name."""
    attributes = storage_of(study).get_trial_system_attrs(trial_id(trial))
    metas = [json.loads(value) for name, value in attributes.items() if name.startswith(ARTIFACT_PREFIX)]
    return {meta["filename"]: out / ARTIFACTS / meta["artifact_id"] for meta in metas if meta}  # null: deleted in the browser
