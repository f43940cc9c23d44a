"""What a person looks at and listens to, in Optuna's artifact store: optuna-dashboard shows it beside the trial.

One folder, `artifacts` beside the studies, serves them all. Optuna's own `upload_artifact` tells the study of a file before it
is there; here it lies in the store whole, and then the study is told.
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

from model.files import whole
from storage.optuna_private import ARTIFACT_PREFIX, ArtifactStore, storage_of, trial_id
from storage.paths import ARTIFACTS

KINDS = {".png": "image/png", ".wav": "audio/wav", ".ogg": "audio/ogg"}


def artifact_store(out: Path) -> ArtifactStore:
    """The store of all studies in the folder `out`."""
    return ArtifactStore(out / ARTIFACTS)


def publish(study: optuna.Study, trial: optuna.Trial, files: Sequence[Path], out: Path) -> None:
    """Upload those of `files` that exist, for a trial that has not ended. Raises OSError, and what the database does."""
    for file in files:
        if file.exists():
            storage_of(study).set_trial_system_attr(trial_id(trial), *keep(file, file.name, out))


def keep(file: Path, name: str, out: Path) -> tuple[str, str]:
    """Copy a file into the store of `out`; the system attribute that tells of it, by `name`, to a trial. Raises OSError."""
    meta = ArtifactMeta(str(uuid.uuid4()), name, KINDS[Path(name).suffix], encoding=None)
    place = artifact_store(out).path(meta.artifact_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole(place) as part:
        shutil.copyfile(file, part)
    return ARTIFACT_PREFIX + meta.artifact_id, json.dumps(asdict(meta))


def artifacts(study: optuna.Study, trial: FrozenTrial, out: Path) -> dict[str, Path]:
    """By name, where the files of a trial lie."""
    known = storage_of(study).get_trial_system_attrs(trial_id(trial))
    metas = [json.loads(known[name]) for name in known if name.startswith(ARTIFACT_PREFIX)]
    return {meta["filename"]: out / ARTIFACTS / meta["artifact_id"] for meta in metas if meta}  # null: deleted in the browser
