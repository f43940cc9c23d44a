"""Migrations that are refused, with the reason and the way out."""

from dataclasses import replace
from typing import Any

import optuna
import pytest

import objective.search.open_study
from model.config import Config, Network, Training
from objective.search.migrate import StudyRefused, differences, migrate
from objective.search.open_study import open_study
from objective.settings.schema import Settings
from search_spaces.space import Space
from storage.leases import owner
from tests.objective.search.migration import CHANGES, OLD, identity_of, load, make_study, space_of

pytestmark = pytest.mark.usefixtures("quiet_optuna")


def made_otherwise(storage: optuna.storages.BaseStorage, space: Space) -> None:
    new = optuna.create_study(storage=storage, study_name="new")
    new.set_user_attr("identity", identity_of(space))


def started_by_a_person(storage: optuna.storages.BaseStorage, space: Space) -> None:
    optuna.create_study(storage=storage, study_name="new").enqueue_trial({})


def made_from_another(storage: optuna.storages.BaseStorage, space: Space) -> None:
    make_study(storage, "older", 3)
    migrate(storage, "older", "new", space, identity_of(space))


def started_with_another_space(storage: optuna.storages.BaseStorage, space: Space) -> None:
    other = space_of(CHANGES["narrower"])
    migrate(storage, "old", "new", other, identity_of(other))


def without_identity(storage: optuna.storages.BaseStorage, space: Space) -> None:
    optuna.delete_study(study_name="old", storage=storage)
    optuna.create_study(study_name="old", storage=storage)


def of_another_version(storage: optuna.storages.BaseStorage, space: Space) -> None:
    identity = load(storage, "old").user_attrs["identity"]
    identity["space"]["parameters"]["training.momentum"] = {"float": [0.5, 0.9]}
    load(storage, "old").set_user_attr("identity", identity)


REFUSED: dict[str, tuple[Any, str, str]] = {
    "itself": (None, "old", "need another name for the study to migrate to, got old for both"),
    "made otherwise": (made_otherwise, "new", "study new exists and was not made from old"),
    "started by a person": (started_by_a_person, "new", "study new exists and was not made from old"),
    "made from another": (made_from_another, "new", "study new was made from older, not from old"),
    "started with another space": (started_with_another_space, "new", "learning_rate was searched as"),
    "no identity": (without_identity, "new", "study old was made by another program"),
    "another version": (of_another_version, "new", "the old space cannot be read by this version (training.momentum"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_migration_is_refused_with_a_reason(case: str, storage: optuna.storages.BaseStorage) -> None:
    prepare, name, message = REFUSED[case]
    space = space_of(CHANGES["wider"])
    if prepare is not None:
        prepare(storage, space)
    before = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)}
    with pytest.raises(StudyRefused) as caught:
        migrate(storage, "old", name, space, identity_of(space))
    assert message in str(caught.value)
    assert {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)} == before


def test_a_missing_study_is_refused_with_the_existing_names(storage: optuna.storages.BaseStorage) -> None:
    space = space_of(OLD)
    with pytest.raises(StudyRefused, match="got --study oldd: choose one of old"):
        migrate(storage, "oldd", "new", space, identity_of(space))


def test_nothing_but_the_space_may_differ(storage: optuna.storages.BaseStorage) -> None:
    """The differences are those of opening a study. A knob that the old study did not know had its default."""
    base = Config(training=Training(batch_size=16))
    space = space_of(CHANGES["wider"], base)
    with pytest.raises(StudyRefused, match=r"training\.batch_size was 64, it is now 16") as caught:
        migrate(storage, "old", "new", space, identity_of(space, seed=1))
    assert "seed was 0, it is now 1" in str(caught.value)
    assert optuna.get_all_study_names(storage) == ["old"]
    stored = load(storage, "old").user_attrs["identity"]
    del stored["training.clip_norm"]
    plain = space_of(CHANGES["wider"])
    assert differences(stored, identity_of(plain), plain)[1] == []
    louder = replace(plain, base=Config(training=Training(clip_norm=2.0)))
    assert differences(stored, identity_of(louder), louder)[1] == ["training.clip_norm was 1.0, it is now 2.0"]
    quicker = replace(plain, base=Config(network=Network(recurrence="deferred")))
    assert differences(stored, identity_of(quicker), quicker)[1] == []
    assert differences(stored, identity_of(plain), plain)[0] == plain.diff(space_of(OLD).fingerprint()) != []


def test_a_half_copied_study_is_not_opened_as_complete(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its migration was killed, and the command without --migrate must not mark it as ready."""
    monkeypatch.setattr(objective.search.open_study, "IDENTITY_S", 0.2)
    half = optuna.create_study(storage=storage, study_name="half")
    claim = {"from": "old", "identity": {}, "owner": {**owner(), "pid": 1}}
    half.set_user_attr("migration", claim)
    space = space_of(CHANGES["wider"])
    settings = Settings.model_validate({"study": {"name": "half", "recipes": []}})
    with pytest.raises(StudyRefused, match="type --study old --migrate half"):
        open_study(settings, space, identity_of(space), storage)
    half.set_user_attr("migration", claim | {"owner": owner()})
    assert open_study(settings, space, identity_of(space), storage)[0].user_attrs["identity"] == identity_of(space)
