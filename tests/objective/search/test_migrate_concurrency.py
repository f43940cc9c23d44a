"""Migrations that are killed, run concurrently, or taken over copy each trial once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

import objective.search.migrate
from objective.search.migrate import StudyRefused, migrate
from storage.leases import owner
from tests.objective.search.migration import CHANGES, FINISHED, identity_of, load, space_of

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("quiet_optuna")


@pytest.fixture(autouse=True)
def short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective.search.migrate, "SETTLE_S", 0.1)


KILLED = """
import os, signal, sys
import optuna
from tests.objective.search.migration import CHANGES, identity_of, space_of
from objective.search.migrate import migrate
from storage.studies import open_storage

optuna.logging.set_verbosity(optuna.logging.WARNING)
add, left = optuna.Study.add_trial, int(sys.argv[2])

def add_trial(study, trial):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    add(study, trial)

optuna.Study.add_trial = add_trial
space = space_of(CHANGES["wider"])
new, done = migrate(open_storage(sys.argv[1]), "old", "new", space, identity_of(space))
if "identity" not in new.user_attrs:
    new.set_user_attr("identity", identity_of(space))
print(len(done.copied), done.before)
"""


def migrating(url: str, copies: int) -> "subprocess.Popen[str]":
    """The migration in a separate process, which is killed after it has copied so many trials."""
    line = [sys.executable, "-c", KILLED, url, str(copies)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_killed_migration_continues_and_copies_no_trial_twice(tmp_path: Path, storage: optuna.storages.BaseStorage) -> None:
    url = f"sqlite:///{tmp_path}/tacotune.db"
    with migrating(url, 7) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert len(load(storage, "new").trials) == 7
    space = space_of(CHANGES["wider"])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    assert done.before == 7
    finished = [trial.number for trial in load(storage, "old").trials if trial.state in FINISHED]
    assert [trial.user_attrs["migrated_from"] for trial in new.trials] == [f"old trial {number}" for number in finished]
    assert list(done.copied.items()) == list(enumerate_from(7, finished))
    assert done.summary()[0] == f"{len(finished) - 7} trials of old copied (7 earlier), 5 not"


def enumerate_from(first: int, numbers: list[int]) -> Iterator[tuple[int, int]]:
    return ((number, place) for place, number in enumerate(numbers) if place >= first)


@pytest.mark.slow
def test_concurrent_migrations_copy_each_trial_once(tmp_path: Path, storage: optuna.storages.BaseStorage) -> None:
    """The same command runs three times at once, on a study that a dead process left half copied."""
    url = f"sqlite:///{tmp_path}/tacotune.db"
    with migrating(url, 3) as process:
        process.wait(timeout=60)
    together = [migrating(url, 1_000) for _ in range(3)]
    printed = [process.communicate(timeout=120)[0].split() for process in together]
    finished = [trial.number for trial in load(storage, "old").trials if trial.state in FINISHED]
    assert sorted(printed) == sorted([[str(len(finished) - 3), "3"], *[["0", str(len(finished))]] * 2])
    marks = [trial.user_attrs["migrated_from"] for trial in load(storage, "new").trials]
    assert marks == [f"old trial {number}" for number in finished]


@pytest.mark.parametrize("dies", [True, False])
def test_a_migration_taken_over_by_another_process_copies_no_more(
    dies: bool, storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes over after three copies and makes two. Only if it then dies, the first continues after those."""
    monkeypatch.setattr(objective.search.migrate, "STALLED_S", 0.3)
    add, calls = optuna.Study.add_trial, []
    finished = [trial for trial in load(storage, "old").trials if trial.state in FINISHED]

    def add_trial(study: optuna.Study, trial: FrozenTrial) -> None:
        calls.append(trial)
        add(study, trial)
        if len(calls) == 3:
            other_owner = {**owner(), "started": "long ago", **({} if dies else {"host": "elsewhere"})}
            study.set_user_attr("migration", study.user_attrs["migration"] | {"owner": other_owner})
            for other in finished[3:5]:
                attributes = {"migrated_from": f"old trial {other.number}"}
                values = {"params": other.params, "distributions": other.distributions, "value": other.value}
                add(study, optuna.trial.create_trial(state=other.state, user_attrs=attributes, **values))

    monkeypatch.setattr(optuna.Study, "add_trial", add_trial)
    space = space_of(CHANGES["wider"])
    if dies:
        _, done = migrate(storage, "old", "new", space, identity_of(space))
        assert (done.before, len(done.copied)) == (5, len(finished) - 5)
    else:
        with pytest.raises(StudyRefused, match="is being made by process"):
            migrate(storage, "old", "new", space, identity_of(space))
    marks = [trial.user_attrs["migrated_from"] for trial in load(storage, "new").trials]
    assert marks == [f"old trial {trial.number}" for trial in finished[: None if dies else 5]]


def test_a_complete_migration_is_not_changed(storage: optuna.storages.BaseStorage) -> None:
    """New trials of the study already use the next ordinals. A trial of the old study that ended later is reported."""
    space, old = space_of(CHANGES["wider"]), load(storage, "old")
    new, _ = migrate(storage, "old", "new", space, identity_of(space))
    new.set_user_attr("identity", identity_of(space))
    count = len(new.trials)
    old.tell(40, 1.0)
    repeated, done = migrate(storage, "old", "new", space, identity_of(space))
    assert len(repeated.trials) == count
    assert (done.before, done.copied) == (count, {})
    assert done.left[40] == "new was complete before it ended"


def test_a_stalled_migration_of_a_living_process_is_reported(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective.search.migrate, "STALLED_S", 0.3)
    space = space_of(CHANGES["wider"])
    new = optuna.create_study(storage=storage, study_name="new")
    other = {**owner(), "host": "elsewhere", "pid": 7}
    new.set_user_attr("migration", {"from": "old", "identity": identity_of(space), "owner": other})
    with pytest.raises(StudyRefused, match=r"study new is being made by process 7 of elsewhere, .*: wait for it, or"):
        migrate(storage, "old", "new", space, identity_of(space))
    assert new.trials == []


def test_a_study_without_a_claim_is_taken_over_after_a_while(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective.search.migrate, "CREATED_S", 0.3)
    optuna.create_study(storage=storage, study_name="new")
    space = space_of(CHANGES["wider"])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    assert len(new.trials) == len(done.copied) > 10
