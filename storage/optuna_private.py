"""Optuna's private parts: the only file of this project that touches them, so that a new Optuna breaks one place.

Tested against Optuna 5.0. The private parts of its gRPC proxy are in storage/optuna_private_grpc.py.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna_dashboard.preferential import PreferentialStudy

ARTIFACT_PREFIX = ARTIFACTS_ATTR_PREFIX  # of the system attribute that announces an artifact

AnyTrial = optuna.Trial | FrozenTrial


def storage_of(study: optuna.Study) -> BaseStorage:
    return study._storage


def study_id(study: optuna.Study) -> int:
    """The id of a study in its storage."""
    return study._study_id


def trial_id(trial: AnyTrial) -> int:
    """The id of a trial in its storage, which is not its number in the study."""
    return trial._trial_id


def stored(trial: optuna.Trial) -> FrozenTrial:
    """A running trial as the storage has it now."""
    return trial.study._storage.get_trial(trial._trial_id)


def set_attribute(study: optuna.Study, trial: AnyTrial, name: str, value: Any) -> None:
    """Set a user attribute of a trial that this process did not ask for. Raises UpdateFinishedTrialError."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


def fail(study: optuna.Study, trial: AnyTrial) -> None:
    """End a trial as FAIL. Raises UpdateFinishedTrialError where it has ended already: a finished state is set only once."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def tables_of(storage: BaseStorage) -> Any:
    """The SQL storage behind the cache of `storage`; None where there is none, as behind a proxy."""
    return getattr(storage, "_backend", None)


class CachedTables(_CachedStorage):
    """Optuna's cache in front of its SQL tables. It also accepts trials that it has not seen."""

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if trial_id in self._trial_id_to_study_id_and_number:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        else:  # the trial started before this process, a restarted proxy
            self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)


class ArtifactStore(FileSystemArtifactStore):
    """A folder of artifacts, created with its first file.

    Removing one that is gone is no error: otherwise its study could not be deleted.
    """

    def path(self, artifact_id: str) -> Path:
        return Path(self._get_filepath(artifact_id))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._base_path.mkdir(parents=True, exist_ok=True)
        super().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)


def plain_study(preferential: "PreferentialStudy") -> optuna.Study:
    """The study that optuna-dashboard's preferential study wraps."""
    study: optuna.Study = preferential._study
    return study


def choices(preferential: "PreferentialStudy") -> list[tuple[int, int]]:
    """Return the choices of people in optuna-dashboard, as (better, worse) trial numbers, some of which may not exist."""
    from optuna_dashboard.preferential._system_attrs import get_preferences

    study = plain_study(preferential)
    pairs: list[tuple[int, int]] = get_preferences(study._storage.get_study_system_attrs(study._study_id))
    return pairs
