"""A trial's snapshots: one that was saved resumes bit for bit, and a damaged one is skipped for the one before."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from model import checkpoints
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Trainer
from objective.trial.checkpoint import TrialHistory, forget, newest
from pruners.health_record import empty
from storage.paths import ARTIFACT_FILES, BEFORE, BEST, LAST
from tests.conftest import ALPHABET, tiny_config, toy_speech

CONFIGURATION = {"params": {"training.learning_rate": 1e-3}, "seed": 3}
WARNED: list[str] = []


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    WARNED.clear()


def trained(history: TrialHistory, updates: int, start: object = None) -> tuple[Trainer, list[Report]]:
    trainer = Trainer(tiny_config(), toy_speech(), 1.2, 6, torch.device("cpu"), 3, start)  # type: ignore[arg-type]
    new = [report for report in islice(trainer.steps(), updates) if report is not None]
    for report in new:
        history.add(report)
    return trainer, new


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial after its first report, saved twice: at that report, which is its best, and some updates later."""
    old = tmp_path / "old"
    old.mkdir()
    history = TrialHistory(CONFIGURATION, empty(1.2), began=0.0)
    trainer = Trainer(tiny_config(), toy_speech(), 1.2, 6, torch.device("cpu"), 3)
    steps = trainer.steps()
    report = next(step for step in steps if step is not None)
    history.add(report)
    history.best = 0
    history.hold_best(trainer.network.state_dict())
    history.files(old, trainer.snapshot(), {"symbols": list(ALPHABET)})()
    next(steps)
    history.files(old, trainer.snapshot(), {"symbols": list(ALPHABET)})()
    return old


def resumed(folder: Path) -> tuple[TrialHistory, Snapshot]:
    """The history and the snapshot from which a trial with this folder resumes."""
    found = newest([folder], CONFIGURATION, WARNED.append)
    assert found is not None
    return found[:2]


def run_to_the_end(found: object) -> list[dict[str, object]]:
    """All reports of a trial that resumes and runs to its end, those from before included."""
    assert found is not None
    history, snapshot, _ = found  # type: ignore[misc]
    trained(history, 10_000, snapshot)
    reports = [report.as_dict() for report in history.reports]
    for report in reports:
        del report["seconds"]
    return reports


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[str, object]]:
    torch.set_num_threads(1)  # as in the tests, which start after this
    history = TrialHistory(CONFIGURATION, empty(1.2))
    trained(history, 10_000)
    reports = [report.as_dict() for report in history.reports]
    for report in reports:
        del report["seconds"]
    return reports


def test_a_saved_trial_resumes_bit_for_bit(folder: Path, undisturbed: list[dict[str, object]]) -> None:
    found = newest([folder.with_name("none"), folder], CONFIGURATION, WARNED.append)
    assert found is not None
    assert found[2] == folder
    assert found[0].seconds > 0
    assert run_to_the_end(found) == undisturbed
    assert found[0].record["kframes"] == [report["kframes"] for report in undisturbed]
    assert WARNED == []


DAMAGE = {"torn": lambda content: content[: len(content) // 2], "empty": lambda content: b"", "foreign": lambda content: b"x"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_snapshot_is_skipped_for_the_one_before(
    damage: str, folder: Path, undisturbed: list[dict[str, object]]
) -> None:
    newer = checkpoints.load(folder / LAST)["cursor"]["updates"]
    (folder / LAST).write_bytes(DAMAGE[damage]((folder / LAST).read_bytes()))
    found = newest([folder], CONFIGURATION, WARNED.append)
    assert found is not None
    assert found[1].cursor.updates == newer - 1
    assert run_to_the_end(found) == undisturbed
    (sentence,) = WARNED
    assert sentence == f"{folder / LAST} is not a checkpoint that can be read: resuming from an earlier one"


def test_without_a_good_snapshot_the_trial_starts_from_the_beginning(folder: Path) -> None:
    for name in (LAST, BEFORE):
        (folder / name).write_bytes(b"torn")
    assert newest([folder], CONFIGURATION, WARNED.append) is None
    assert len(WARNED) == 2


def test_a_snapshot_of_another_configuration_or_version_is_never_used(folder: Path) -> None:
    assert newest([folder], {**CONFIGURATION, "seed": 4}, WARNED.append) is None
    assert WARNED[0] == f"{folder / LAST} is of another configuration: resuming from an earlier one"
    values = checkpoints.load(folder / LAST)
    del values["course"]
    checkpoints.save(folder / LAST, values)
    (folder / BEFORE).unlink()
    assert newest([folder], CONFIGURATION, WARNED.append) is None
    assert "another version" in WARNED[-1]


@pytest.mark.parametrize("torn", [False, True])
def test_the_best_weights_are_copied(torn: bool, folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    history, snapshot = resumed(folder)
    best = (folder / BEST).read_bytes()
    if torn:
        (folder / BEST).write_bytes(best[:100])
    history.copy_best(folder, new, snapshot, {})
    if torn:
        assert history.best is None, "some updates later the weights of the report are overwritten"
        assert not (new / BEST).exists()
    else:
        assert (new / BEST).read_bytes() == best


@pytest.mark.parametrize("stopped_at", [LAST, BEST])
def test_the_best_weights_survive_a_stop_between_two_files(stopped_at: str, folder: Path, tmp_path: Path) -> None:
    """A later report is the best, and writing its snapshot stops before last.pt, or between last.pt and best.pt."""
    new = tmp_path / "new"
    new.mkdir()
    history, snapshot = resumed(folder)
    trainer = Trainer(tiny_config(), toy_speech(), 1.2, 6, torch.device("cpu"), 3, snapshot)
    steps = trainer.steps()
    history.add(next(step for step in steps if step is not None))
    history.best = 1
    history.hold_best(trainer.network.state_dict())
    write = history.files(folder, trainer.snapshot(), {})
    next(steps)  # the weights move on, what is held does not
    if stopped_at == LAST:
        (folder / BEFORE).unlink()
        (folder / BEFORE).mkdir()  # last.pt cannot be moved there
    else:
        (folder / BEST).unlink()
        (folder / BEST).mkdir()
    with pytest.raises(OSError, match="directory"):
        write()
    (folder / (BEST if stopped_at == BEST else BEFORE)).rmdir()
    history, snapshot = resumed(folder)
    assert history.best == (0 if stopped_at == LAST else 1)
    history.copy_best(folder, new, snapshot, {})
    assert checkpoints.load(new / BEST)["kframes"] == history.reports[history.best].kframes


def test_a_snapshot_at_its_best_report_holds_the_best_weights(folder: Path, tmp_path: Path) -> None:
    """A worker that dies between the two files leaves last.pt alone."""
    new = tmp_path / "new"
    new.mkdir()
    weights = checkpoints.load(folder / BEST)["weights"]
    for name in (LAST, BEST):
        (folder / name).unlink()
    found = newest([folder], CONFIGURATION, WARNED.append)
    assert found is not None
    found[0].copy_best(folder, new, found[1], {"symbols": list(ALPHABET)})
    values = checkpoints.load(new / BEST)
    assert values["symbols"] == list(ALPHABET)
    assert all(torch.equal(values["weights"][name], weights[name]) for name in weights)


def test_the_files_of_an_earlier_study_are_removed(folder: Path) -> None:
    for name in ("reports.jsonl", *ARTIFACT_FILES):
        (folder / name).write_text("{}")
    (folder / "notes.txt").write_text("a person's")
    forget(folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_best_weights_that_were_held_are_those_of_their_report(tmp_path: Path) -> None:
    """They are written with a later snapshot, after the network has changed."""
    history = TrialHistory(CONFIGURATION, empty(1.2))
    trainer = Trainer(tiny_config(), toy_speech(), 1.2, 6, torch.device("cpu"), 3)
    steps = trainer.steps()
    report = next(step for step in steps if step is not None)
    history.add(report)
    history.best = 0
    wanted = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    history.hold_best(trainer.network.state_dict())
    next(steps)
    write = history.files(tmp_path, trainer.snapshot(), {})
    updates = trainer.cursor.updates
    next(steps)
    write()
    best, last = checkpoints.load(tmp_path / "best.pt"), checkpoints.load(tmp_path / "last.pt")
    torch.testing.assert_close(best["weights"], wanted, rtol=0, atol=0)
    assert best["kframes"] == report.kframes
    assert last["cursor"]["updates"] == updates
