"""An artifact is complete in the store before the study lists it."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from storage import artifacts as module
from storage.artifacts import artifact_store, artifacts, publish


def started() -> tuple[optuna.Study, optuna.Trial]:
    study = optuna.create_study()
    return study, study.ask()


def test_a_published_file_is_found_by_its_name(tmp_path: Path) -> None:
    study, trial = started()
    files = [tmp_path / "a.png", tmp_path / "b.ogg", tmp_path / "absent.wav"]
    for file in files[:2]:
        file.write_bytes(file.name.encode())
    publish(study, trial, files, tmp_path)
    found = artifacts(study, study.trials[0], tmp_path)
    assert {name: path.read_bytes() for name, path in found.items()} == {"a.png": b"a.png", "b.ogg": b"b.ogg"}
    metas = {meta.filename: meta for meta in get_all_artifact_meta(study.trials[0], storage=study._storage)}
    assert metas["b.ogg"].mimetype == "audio/ogg"
    with artifact_store(tmp_path).open_reader(metas["a.png"].artifact_id) as file:
        assert file.read() == b"a.png"


def test_a_file_that_could_not_be_copied_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, trial = started()
    (tmp_path / "a.png").write_bytes(b"a.png")

    def on_a_full_disk(source: Path, target: Path) -> None:
        target.write_bytes(b"a")
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(module.shutil, "copyfile", on_a_full_disk)
    with pytest.raises(OSError, match="no space"):
        publish(study, trial, [tmp_path / "a.png"], tmp_path)
    assert artifacts(study, study.trials[0], tmp_path) == {}
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_file_deleted_in_the_browser_is_no_longer_listed(tmp_path: Path) -> None:
    study, trial = started()
    (tmp_path / "a.png").write_bytes(b"a.png")
    publish(study, trial, [tmp_path / "a.png"], tmp_path)
    (key,) = (name for name in study.trials[0].system_attrs if name.startswith("artifacts:"))
    study._storage.set_trial_system_attr(trial._trial_id, key, json.dumps(None))  # as optuna-dashboard does
    assert artifacts(study, study.trials[0], tmp_path) == {}
