"""Pictures and sounds of trials in Optuna's artifact store, where optuna-dashboard shows them next to the trial.

All studies of an output folder share one store, its folder `artifacts`. Optuna's own `upload_artifact` records a file in the
study before the file exists; here the complete file lies in the store first, and is recorded in the study afterwards.
"""

import json
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from model.files import whole
from storage.paths import ARTIFACTS

KINDS = {".png": "image/png", ".wav": "audio/wav", ".ogg": "audio/ogg"}


class Store(FileSystemArtifactStore):
    """An artifact store whose folder is created by the first file written to it.

    Removing a file that is already gone is no error: otherwise a study with a missing file could not be deleted.
    """

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._base_path.mkdir(parents=True, exist_ok=True)
        super().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)


def artifact_store(out: Path) -> Store:
    """Return the store of all studies in the folder `out`."""
    return Store(out / ARTIFACTS)


def publish(study: optuna.Study, trial_id: int, files: Sequence[Path], out: Path) -> None:
    """Upload those of `files` that exist, for a trial that has not ended. Raises OSError and the database's errors."""
    for file in files:
        if file.exists():
            study._storage.set_trial_system_attr(trial_id, *store_file(file, file.name, out))


def store_file(file: Path, name: str, out: Path) -> tuple[str, str]:
    """Copy a file into the store of `out`. Raises OSError.

    Returns the name and the value of the system attribute that lists the file as `name` among the artifacts of a trial.
    """
    meta = ArtifactMeta(str(uuid.uuid4()), name, KINDS[Path(name).suffix], encoding=None)
    place = artifact_store(out)._get_filepath(meta.artifact_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole(place) as part:
        shutil.copyfile(file, part)
    return ARTIFACTS_ATTR_PREFIX + meta.artifact_id, json.dumps(asdict(meta))


def artifacts(study: optuna.Study, trial: FrozenTrial, out: Path) -> dict[str, Path]:
    """Return the paths of the files of a trial, by name."""
    known = study._storage.get_trial_system_attrs(trial._trial_id)
    metas = [json.loads(known[name]) for name in known if name.startswith(ARTIFACTS_ATTR_PREFIX)]
    return {meta["filename"]: out / ARTIFACTS / meta["artifact_id"] for meta in metas if meta}  # null: deleted in the browser
