"""Clean-ups run concurrently with workers and with one another, and remove no needed file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from storage.lineage import enqueue_retries
from storage.paths import trial_folder
from storage.retention import Plan, tidy
from tests.storage.simulation import Simulation
from tests.storage.trials import SNAPSHOTS, put, removed, trial


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@settings(max_examples=150)
@given(st.lists(st.integers(0, 10_000), min_size=20, max_size=80))
def test_no_order_of_steps_removes_a_needed_file(choices: list[int]) -> None:
    """Two clean-ups carry out their plans late, between the steps of two workers. Every lineage resumes from its newest good
    snapshot, every complete trial keeps its weights, and in the end nothing else is left."""
    with TemporaryDirectory() as folder:
        world = Simulation(Path(folder))
        for choice in choices:
            world.step(choice)
        for number in list(world.done):
            world.end(number, 2)
        enqueue_retries(world.study, world.study.get_trials(deepcopy=False))
        while any(one.state == TrialState.WAITING for one in world.trials()):
            world.start(True)
            (number,) = world.done
            world.begin(number)
            world.end(number, 1)
        world.plan()
        for plan in world.plans:
            while plan:
                world.delete(plan)
        complete = {world.path(one.number, "best.pt") for one in world.trials() if one.state == TrialState.COMPLETE}
        assert set(world.folder.rglob("*.pt")) == complete


def test_concurrent_workers_delete_each_file_once(tmp_path: Path) -> None:
    """One of them reports the deletion, and the others are not disturbed by it."""
    study = optuna.create_study()
    study.add_trials([trial(number, "PRUNED") for number in range(100)])
    for number in range(100):
        put(tmp_path, number, *SNAPSHOTS)
    together = Barrier(4)

    def tidy_together(_: int) -> Plan:
        together.wait(timeout=60)
        return tidy(study.get_trials(deepcopy=False), tmp_path)

    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(tidy_together, range(4)))
    deleted = [file.path for plan in plans for file in plan.removals]
    assert len(deleted) == len(set(deleted)) == 300
    assert all(plan.note is None for plan in plans)


def test_a_file_that_cannot_be_deleted_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root may delete everything, so the refusal of the disk is simulated."""
    put(tmp_path, 0, *SNAPSHOTS)
    study = optuna.create_study()
    study.add_trial(trial(0, "PRUNED"))
    unlink = Path.unlink

    def stubborn(path: Path, missing_ok: bool = False) -> None:
        if path.name == "last.pt":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", stubborn)
    plan = tidy(study.get_trials(deepcopy=False), tmp_path)
    assert removed(plan) == {"0/before.pt", "0/best.pt"}
    assert plan.note == f"cannot delete {trial_folder(tmp_path, 0)}/last.pt: operation not permitted"
