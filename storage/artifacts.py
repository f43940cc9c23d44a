"""What a person looks at and listens to, in Optuna's artifact store: optuna-dashboard shows it beside the trial.

One folder, `artifacts` beside the studies, serves them all. Optuna's own `upload_artifact` tells the study of a file before it
is there; here it lies in the store whole, and then the study is told.
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

from model.files import atomic_write
from storage.paths import ARTIFACTS

KINDS = {".png": "image/png", ".wav": "audio/wav", ".ogg": "audio/ogg"}


class Store(FileSystemArtifactStore):
    """Made by the first file that comes into it. One that is gone may be removed again: else its study could not be deleted."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._base_path.mkdir(parents=True, exist_ok=True)
        super().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)


def artifact_store(out: Path) -> Store:
    """The store of all studies in the folder `out`."""
    return Store(out / ARTIFACTS)


def publish(study: optuna.Study, trial_id: int, files: Sequence[Path], out: Path) -> None:
    """Upload those of `files` that exist, for a trial that has not ended. Raises OSError, and what the database does."""
    for file in files:
        if file.exists():
            study._storage.set_trial_system_attr(trial_id, *keep(file, file.name, out))


def keep(file: Path, name: str, out: Path) -> tuple[str, str]:
    """Copy a file into the store of `out`; the system attribute that tells of it, by `name`, to a trial. Raises OSError."""
    meta = ArtifactMeta(str(uuid.uuid4()), name, KINDS[Path(name).suffix], encoding=None)
    place = artifact_store(out)._get_filepath(meta.artifact_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(place) as part:
        shutil.copyfile(file, part)
    return ARTIFACTS_ATTR_PREFIX + meta.artifact_id, json.dumps(asdict(meta))


def artifacts(study: optuna.Study, trial: FrozenTrial, out: Path) -> dict[str, Path]:
    """By name, where the files of a trial lie."""
    known = study._storage.get_trial_system_attrs(trial._trial_id)
    metas = [json.loads(known[name]) for name in known if name.startswith(ARTIFACTS_ATTR_PREFIX)]
    return {meta["filename"]: out / ARTIFACTS / meta["artifact_id"] for meta in metas if meta}  # null: deleted in the browser
