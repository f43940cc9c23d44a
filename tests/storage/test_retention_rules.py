"""Rules for removing snapshots: a table of cases, every lineage of three trials, and files that are not ours."""

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from storage.lineage import ancestors
from storage.paths import trial_folder
from storage.retention import Plan, removable, tidy
from tests.storage.trials import AT_ONCE, RELEASED, RETRY, SNAPSHOTS, SNAPSHOTS_OF_0, put, removed, trial

TABLE: dict[str, tuple[list[FrozenTrial], dict[int, tuple[str, ...]], set[str]]] = {
    "running": ([trial(0, "RUNNING", health={})], {0: SNAPSHOTS}, set()),
    "complete": ([trial(0, "COMPLETE")], {0: SNAPSHOTS}, {"0/last.pt", "0/before.pt"}),
    "pruned, stored as complete for GPSampler": ([trial(0, "COMPLETE", pruned_by="progress")], {0: SNAPSHOTS}, SNAPSHOTS_OF_0),
    "pruned": ([trial(0, "PRUNED")], {0: SNAPSHOTS}, SNAPSHOTS_OF_0),
    "ended by a person": ([trial(0, "FAIL", health={})], {0: SNAPSHOTS}, SNAPSHOTS_OF_0),
    "given up": ([trial(0, "FAIL", **RELEASED, given_up="five workers")], {0: SNAPSHOTS}, SNAPSHOTS_OF_0),
    "to be retried": ([trial(0, "FAIL", **RELEASED)], {0: SNAPSHOTS}, set()),
    "its retry waits": ([trial(0, "FAIL", **RELEASED), trial(1, "WAITING", **RETRY)], {0: SNAPSHOTS}, set()),
    "a waiting retry has no files of its own": (
        [trial(0, "FAIL", **RELEASED), trial(1, "WAITING", **RETRY)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        set(),
    ),
    "its retry has just started": ([trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY)], {0: SNAPSHOTS}, set()),
    "files of an earlier study do not count": (
        [trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        set(),
    ),
    "best weights alone are no snapshot": (
        [trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY, health={})],
        {0: SNAPSHOTS, 1: ("best.pt",)},
        set(),
    ),
    "a single snapshot may be damaged": (
        [trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY, health={})],
        {0: SNAPSHOTS, 1: ("last.pt", "best.pt")},
        set(),
    ),
    "the retry has two snapshots": (
        [trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY, health={})],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        SNAPSHOTS_OF_0,
    ),
    "the retry is complete": (
        [trial(0, "FAIL", **RELEASED), trial(1, "COMPLETE", **RETRY)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        {*SNAPSHOTS_OF_0, "1/last.pt", "1/before.pt"},
    ),
    "released again before its first snapshot": (
        [trial(0, "FAIL", **RELEASED), trial(1, "FAIL", **RETRY, released="interrupted"), trial(2, "RUNNING", again_of=1, k=0)],
        {0: SNAPSHOTS},
        set(),
    ),
    "the second of three trials has the newest snapshot": (
        [trial(0, "FAIL", **RELEASED), trial(1, "FAIL", **{**RELEASED, **RETRY}), trial(2, "WAITING", again_of=1, k=0)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        SNAPSHOTS_OF_0,
    ),
    "a person ended the retry": (
        [trial(0, "FAIL", **RELEASED), trial(1, "FAIL", **RETRY)],
        {0: SNAPSHOTS},
        SNAPSHOTS_OF_0,
    ),
    "a duplicate was discarded": (
        [trial(0, "FAIL", **RELEASED), trial(1, "RUNNING", **RETRY), trial(2, "FAIL", **RETRY, dropped="another runs it")],
        {0: SNAPSHOTS},
        set(),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_each_case_removes_exactly_the_useless_files(case: str, tmp_path: Path) -> None:
    trials, files, expected = TABLE[case]
    for number, names in files.items():
        put(tmp_path, number, *names)
    plan = removable(trials, tmp_path, AT_ONCE)
    assert removed(plan) == expected
    assert len(plan.removals) + len(plan.kept) == sum(map(len, files.values()))
    assert all(file.why for file in (*plan.removals, *plan.kept))


ENDS = ("COMPLETE", "PRUNED", "FAIL")
OWN = [(), ("last.pt",), ("last.pt", "before.pt"), SNAPSHOTS]


def test_every_lineage_of_three_stays_resumable_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """For released trials with any files and a last trial in any state: the snapshots to resume from are kept, and after an
    end only the weights of a complete trial are left."""
    for case, (first, second, third, state) in enumerate(product(OWN, OWN, OWN, ("WAITING", "RUNNING", "RELEASED", *ENDS))):
        folder = tmp_path / str(case)
        tip: dict[str, Any] = {"released": "died"} if state == "RELEASED" else {}
        trials = [
            trial(0, "FAIL", **RELEASED),
            trial(1, "FAIL", **{**RELEASED, "again_of": 0}),
            trial(2, "FAIL" if state == "RELEASED" else state, again_of=1, k=0, **tip, **({"health": {}} if third else {})),
        ]
        for number, names in enumerate((first, second, third)):
            put(folder, number, *names)
        before = resumable(folder, trials)
        for file in removable(trials, folder, AT_ONCE).removals:
            file.path.unlink()
        if state in ENDS:
            kept = [trial_folder(folder, 2) / "best.pt"] if state == "COMPLETE" and "best.pt" in third else []
            assert list(folder.rglob("*.pt")) == kept
        else:
            assert resumable(folder, trials)[:2] == before[:2], (first, second, third, state)
            for newest in resumable(folder, trials)[:2]:
                assert (newest.parent / "best.pt").exists() or newest.parent.name[-1] not in with_best_weights(
                    (first, second, third)
                )
        assert not removable(trials, folder, AT_ONCE).removals


def resumable(folder: Path, trials: Sequence[FrozenTrial]) -> list[Path]:
    """The snapshots of the last trial's lineage, in the order in which a worker tries them."""
    line = [trials[-1], *ancestors(trials, trials[-1])]
    paths = [trial_folder(folder, one.number) / name for one in line for name in ("last.pt", "before.pt")]
    return [path for path in paths if path.exists()]


def with_best_weights(sets: Sequence[tuple[str, ...]]) -> set[str]:
    return {str(number) for number, names in enumerate(sets) if "best.pt" in names}


def test_only_the_snapshots_of_known_trials_are_deleted(tmp_path: Path) -> None:
    """Pictures, sounds, reports, unknown files and the targets of links are kept."""
    folder, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    others = ("config.yaml", "reports.jsonl", "alignment.png", "sample.wav", "weights.pt", ".hidden", "x.part", "last.pt.old")
    put(folder, 0, *others, *SNAPSHOTS)
    put(folder, 7, *SNAPSHOTS)  # this study has no such trial
    put(elsewhere, 1, *SNAPSHOTS)
    put(folder, 2, "last.pt")
    (trial_folder(folder, 1)).symlink_to(trial_folder(elsewhere, 1))
    (trial_folder(folder, 2) / "best.pt").symlink_to(trial_folder(elsewhere, 1) / "best.pt")
    (trial_folder(folder, 2) / "before.pt").mkdir()
    for name in ("trial-3", "trial-000003", "trial-0000x", "notes"):
        (folder / name).mkdir()
        (folder / name / "last.pt").write_bytes(b"x")
    study = optuna.create_study()
    study.add_trials([trial(number, "PRUNED") for number in range(4)])
    everything = set(tmp_path.rglob("*"))
    plan = tidy(study.get_trials(deepcopy=False), folder)
    assert removed(plan) == {*SNAPSHOTS_OF_0, "2/last.pt"}
    assert everything - set(tmp_path.rglob("*")) == {file.path for file in plan.removals}
    assert tidy(study.get_trials(deepcopy=False), tmp_path / "none") == Plan((), ())


def test_an_unfinished_write_is_removed_once_no_process_can_be_writing_it(tmp_path: Path) -> None:
    trials = [trial(0, "RUNNING"), trial(1, "FAIL", **RELEASED), trial(2, "COMPLETE"), trial(3, "COMPLETE")]
    for number, age in enumerate((9_999, 9_999, 9_999, 60)):
        put(tmp_path, number, ".last.pt.0f.part", age=age)
    assert removed(removable(trials, tmp_path)) == {"1/.last.pt.0f.part", "2/.last.pt.0f.part"}


@pytest.mark.parametrize("state", ["FAIL", "PRUNED", "COMPLETE"])
def test_a_trial_ended_from_outside_keeps_its_files_for_a_while(state: str, tmp_path: Path) -> None:
    """The dashboard's button ends a trial whose worker may be about to read its best weights."""
    outside, inside = trial(0, state), trial(1, state)
    outside.user_attrs.pop("seconds", None)
    inside.user_attrs["seconds"] = 1.0  # set by its own worker
    put(tmp_path, 0, *SNAPSHOTS, age=3_600)
    put(tmp_path, 0, "last.pt", age=60)
    put(tmp_path, 1, *SNAPSHOTS)
    early, late = (removable([outside, inside], tmp_path, now=time.time() + later) for later in (0, 3_600))
    assert {name[0] for name in removed(early)} == {"1"}
    assert {name[0] for name in removed(late)} == {"0", "1"}
