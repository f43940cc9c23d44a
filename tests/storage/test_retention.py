"""What makes room and what never does: as a table, over every lineage, and with workers and tidiers that step in any order."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objective.cleanup import main
from storage.lineage import ancestors, enqueue_owed, release
from storage.paths import trial_folder
from storage.retention import Keep, Plan, removable, size, tidy
from storage.studies import open_storage

ROOT = Path(__file__).parent.parent.parent
AT_ONCE = Keep(linger_s=0)
SNAPSHOTS = ("last.pt", "before.pt", "best.pt")


def trial(number: int, state: str, value: float | None = None, **known: Any) -> FrozenTrial:
    """As a worker leaves it. `sick=0.3` breaks a constraint by so much."""
    sick = known.pop("sick", None)
    if state in ("COMPLETE", "PRUNED"):
        known = {"seconds": 1.0, "health": {}} | known
    if state == "COMPLETE" and value is None:
        value = 1.0
    made = create_trial(
        state=TrialState[state],
        value=value,
        params={} if state == "WAITING" else {"x": 0.5},
        distributions={} if state == "WAITING" else {"x": FloatDistribution(0, 1)},
        user_attrs=known,
        constraints=None if sick is None else {"health/x": sick},
    )
    made.number = number
    return made


def put(folder: Path, number: int, *names: str, size: int = 10, age: float = 60.0) -> None:
    where = trial_folder(folder, number)
    where.mkdir(parents=True, exist_ok=True)
    for name in names:
        (where / name).write_bytes(b"x" * size)
        os.utime(where / name, (time.time() - age,) * 2)


def gone(plan: Plan) -> set[str]:
    return {f"{file.number}/{file.path.name}" for file in plan.removals}


A = {"released": "its worker died", "k": 0, "health": {}}
AGAIN = {"again_of": 0, "k": 0}
LAST_BEFORE_BEST = {"0/last.pt", "0/before.pt", "0/best.pt"}
TABLE: dict[str, tuple[list[FrozenTrial], dict[int, tuple[str, ...]], set[str]]] = {
    "running": ([trial(0, "RUNNING", health={})], {0: SNAPSHOTS}, set()),
    "complete": ([trial(0, "COMPLETE")], {0: SNAPSHOTS}, {"0/last.pt", "0/before.pt"}),
    "complete for GP, pruned in truth": ([trial(0, "COMPLETE", pruned_by="progress")], {0: SNAPSHOTS}, LAST_BEFORE_BEST),
    "pruned": ([trial(0, "PRUNED")], {0: SNAPSHOTS}, LAST_BEFORE_BEST),
    "ended by a person": ([trial(0, "FAIL", health={})], {0: SNAPSHOTS}, LAST_BEFORE_BEST),
    "given up": ([trial(0, "FAIL", **A, given_up="five workers")], {0: SNAPSHOTS}, LAST_BEFORE_BEST),
    "owed": ([trial(0, "FAIL", **A)], {0: SNAPSHOTS}, set()),
    "comes again, waits": ([trial(0, "FAIL", **A), trial(1, "WAITING", **AGAIN)], {0: SNAPSHOTS}, set()),
    "what waits has nothing of its own": (
        [trial(0, "FAIL", **A), trial(1, "WAITING", **AGAIN)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        set(),
    ),
    "comes again, has just begun": ([trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN)], {0: SNAPSHOTS}, set()),
    "what an earlier study left is nobody's own": (
        [trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        set(),
    ),
    "the best weights alone are no snapshot": (
        [trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN, health={})],
        {0: SNAPSHOTS, 1: ("best.pt",)},
        set(),
    ),
    "one of its own may be damaged": (
        [trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN, health={})],
        {0: SNAPSHOTS, 1: ("last.pt", "best.pt")},
        set(),
    ),
    "two of its own": (
        [trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN, health={})],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        LAST_BEFORE_BEST,
    ),
    "completed in the end": (
        [trial(0, "FAIL", **A), trial(1, "COMPLETE", **AGAIN)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        {*LAST_BEFORE_BEST, "1/last.pt", "1/before.pt"},
    ),
    "released again before its first snapshot": (
        [trial(0, "FAIL", **A), trial(1, "FAIL", **AGAIN, released="interrupted"), trial(2, "RUNNING", again_of=1, k=0)],
        {0: SNAPSHOTS},
        set(),
    ),
    "the snapshot in the middle is the newest": (
        [trial(0, "FAIL", **A), trial(1, "FAIL", **{**A, **AGAIN}), trial(2, "WAITING", again_of=1, k=0)],
        {0: SNAPSHOTS, 1: SNAPSHOTS},
        LAST_BEFORE_BEST,
    ),
    "a person ended the last of a lineage": (
        [trial(0, "FAIL", **A), trial(1, "FAIL", **AGAIN)],
        {0: SNAPSHOTS},
        LAST_BEFORE_BEST,
    ),
    "of twins one runs": (
        [trial(0, "FAIL", **A), trial(1, "RUNNING", **AGAIN), trial(2, "FAIL", **AGAIN, dropped="another runs it")],
        {0: SNAPSHOTS},
        set(),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_goes_and_what_stays(case: str, tmp_path: Path) -> None:
    trials, files, expected = TABLE[case]
    for number, names in files.items():
        put(tmp_path, number, *names)
    plan = removable(trials, tmp_path, AT_ONCE)
    assert gone(plan) == expected
    assert len(plan.removals) + len(plan.kept) == sum(map(len, files.values()))
    assert all(file.why for file in (*plan.removals, *plan.kept))


ENDS = ("COMPLETE", "PRUNED", "FAIL")
OWN = [(), ("last.pt",), ("last.pt", "before.pt"), SNAPSHOTS]


def test_every_lineage_of_three_can_go_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Released trials with any files, ended by any state: what could be gone on from before can be after, and after an end
    only the weights of a complete trial are left."""
    for case, (first, second, third, state) in enumerate(product(OWN, OWN, OWN, ("WAITING", "RUNNING", "OWED", *ENDS))):
        folder = tmp_path / str(case)
        tip: dict[str, Any] = {"released": "died"} if state == "OWED" else {}
        trials = [
            trial(0, "FAIL", **A),
            trial(1, "FAIL", **{**A, "again_of": 0}),
            trial(2, "FAIL" if state == "OWED" else state, again_of=1, k=0, **tip, **({"health": {}} if third else {})),
        ]
        for number, names in enumerate((first, second, third)):
            put(folder, number, *names)
        before = sought(folder, trials)
        for file in removable(trials, folder, AT_ONCE).removals:
            file.path.unlink()
        if state in ENDS:
            kept = [trial_folder(folder, 2) / "best.pt"] if state == "COMPLETE" and "best.pt" in third else []
            assert list(folder.rglob("*.pt")) == kept
        else:
            assert sought(folder, trials)[:2] == before[:2], (first, second, third, state)
            for newest in sought(folder, trials)[:2]:
                assert (newest.parent / "best.pt").exists() or newest.parent.name[-1] not in wholes((first, second, third))
        assert not removable(trials, folder, AT_ONCE).removals


def sought(folder: Path, trials: Sequence[FrozenTrial]) -> list[Path]:
    """The snapshots of the last trial's lineage in the order in which a worker tries them."""
    line = [trials[-1], *ancestors(trials, trials[-1])]
    paths = [trial_folder(folder, one.number) / name for one in line for name in ("last.pt", "before.pt")]
    return [path for path in paths if path.exists()]


def wholes(sets: Sequence[tuple[str, ...]]) -> set[str]:
    return {str(number) for number, names in enumerate(sets) if "best.pt" in names}


def test_only_the_snapshots_of_known_trials_are_deleted(tmp_path: Path) -> None:
    """Pictures, sounds, reports, what nobody knows, and whatever a link leads to."""
    folder, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    others = ("config.yaml", "reports.jsonl", "alignment.png", "sample.wav", "weights.pt", ".hidden", "x.part", "last.pt.old")
    put(folder, 0, *others, *SNAPSHOTS)
    put(folder, 7, *SNAPSHOTS)  # of no trial of this study
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
    assert gone(plan) == {*LAST_BEFORE_BEST, "2/last.pt"}
    assert everything - set(tmp_path.rglob("*")) == {file.path for file in plan.removals}
    assert tidy(study.get_trials(deepcopy=False), tmp_path / "none") == Plan((), ())


def test_an_unfinished_write_is_swept_up_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    trials = [trial(0, "RUNNING"), trial(1, "FAIL", **A), trial(2, "COMPLETE"), trial(3, "COMPLETE")]
    for number, age in enumerate((9_999, 9_999, 9_999, 60)):
        put(tmp_path, number, ".last.pt.0f.part", age=age)
    assert gone(removable(trials, tmp_path)) == {"1/.last.pt.0f.part", "2/.last.pt.0f.part"}


@pytest.mark.parametrize("state", ["FAIL", "PRUNED", "COMPLETE"])
def test_a_worker_that_does_not_know_of_the_end_keeps_its_files_a_while(state: str, tmp_path: Path) -> None:
    """The dashboard's button ends a trial whose worker may be about to read its best weights."""
    ended, told = trial(0, state), trial(1, state)
    ended.user_attrs.pop("seconds", None)
    told.user_attrs["seconds"] = 1.0  # as its own worker does
    put(tmp_path, 0, *SNAPSHOTS, age=3_600)
    put(tmp_path, 0, "last.pt", age=60)
    put(tmp_path, 1, *SNAPSHOTS)
    early, late = (removable([ended, told], tmp_path, now=time.time() + later) for later in (0, 3_600))
    assert {name[0] for name in gone(early)} == {"1"}
    assert {name[0] for name in gone(late)} == {"0", "1"}


RANKED = [
    trial(0, "PRUNED", 0.1),
    trial(1, "COMPLETE", 0.9, sick=-0.1),
    trial(2, "COMPLETE", 0.5, sick=0.1),
    trial(3, "COMPLETE", 0.8),
    trial(4, "COMPLETE", 0.3, sick=0.4),
    trial(5, "RUNNING"),
    trial(6, "FAIL", **A),
]
BEST_FIRST = [3, 1, 2, 4, 0]


def test_of_the_finished_the_best_keep_their_weights(tmp_path: Path) -> None:
    """Healthy ones first, then those that miss little, pruned ones last; running and owed trials do not count."""
    for number in range(len(RANKED)):
        put(tmp_path, number, "best.pt")
    for k in range(1, 6):
        plan = removable(RANKED, tmp_path, Keep(top_k=k, pruned=True, linger_s=0))
        assert gone(plan) == {f"{number}/best.pt" for number in BEST_FIRST[k:]}
    assert gone(removable(RANKED, tmp_path, Keep(top_k=4, linger_s=0))) == {"0/best.pt"}, "pruned weights take no one's place"


def test_pruned_weights_are_kept_by_setting(tmp_path: Path) -> None:
    """Those of a trial that came again are not its point's last."""
    trials = [trial(0, "FAIL", **A), trial(1, "PRUNED", **AGAIN), trial(2, "FAIL"), trial(3, "FAIL", **A, given_up="five")]
    for number in range(4):
        put(tmp_path, number, *SNAPSHOTS)
    plan = removable(trials, tmp_path, Keep(pruned=True, linger_s=0))
    assert {f"{file.number}/{file.path.name}" for file in plan.kept} == {"1/best.pt", "2/best.pt", "3/best.pt"}


def test_a_quota_takes_the_worst_until_the_rest_fits(tmp_path: Path) -> None:
    """Ten bytes each, of which 60 stay anyway: three of the running trial, three of the owed one."""
    for number in range(7):
        put(tmp_path, number, *(SNAPSHOTS if number in (5, 6) else ("best.pt",)))
    for quota, fitting in ((1_000, 5), (110, 5), (109, 4), (75, 1), (70, 1), (69, 1), (1, 1)):
        plan = removable(RANKED, tmp_path, Keep(quota_bytes=quota, pruned=True, linger_s=0))
        assert gone(plan) == {f"{number}/best.pt" for number in BEST_FIRST[fitting:]}
        assert (plan.note is None) == (sum(file.bytes for file in plan.kept) <= quota) == (quota >= 70)
    assert plan.note is not None
    assert "must stay take 70 B, over the quota of 1 B" in plan.note


def test_an_end_leaves_the_rest_to_the_quota(tmp_path: Path) -> None:
    """What goes in any case makes room before weights do."""
    put(tmp_path, 0, *SNAPSHOTS)
    put(tmp_path, 1, *SNAPSHOTS)
    plan = removable([trial(0, "COMPLETE"), trial(1, "COMPLETE")], tmp_path, Keep(quota_bytes=20))
    assert {file.path.name for file in plan.kept} == {"best.pt"}
    assert len(plan.kept) == 2


@pytest.mark.parametrize(
    ("top_k", "quota", "words"),
    [
        (0, None, "top_k >= 1, got 0"),
        (None, 0.0, "above 0, got 0"),
        (None, float("nan"), "above 0, got nan"),
        (None, float("inf"), "above 0, got inf"),
    ],
)
def test_numbers_that_make_no_sense(top_k: int | None, quota: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Keep.of(top_k, quota, False)


def test_sizes() -> None:
    assert [size(count) for count in (0, 999, 1_000, 999_499, 999_600, 1_230_000_000)] == [
        *("0 B", "999 B", "1 kB", "999 kB", "1 MB", "1.23 GB")
    ]


class World:
    """Workers and tidiers of one study in memory, with real files, that do one thing at a time in any order.

    A snapshot holds how far its trial was, and how far when its weights were the best, as in objective/trial/checkpoint.py.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = optuna.create_study()
        self.done: dict[int, tuple[int, int]] = {}  # of a running trial, its progress and that of its best
        self.newest: dict[int, list[tuple[int, int]]] = {}  # by k, what a successor should find, the newest first
        self.damaged: set[int] = set()  # by k: it happens once
        self.saved: set[int] = set()
        self.plans: list[list[Path]] = [[], []]  # of two tidiers, what they have not deleted yet

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def path(self, number: int, name: str) -> Path:
        return trial_folder(self.folder, number) / name

    def start(self, named: bool) -> None:
        """Ask; what an earlier study of this name left is still in the folder."""
        enqueue_owed(self.study, self.study.get_trials(deepcopy=False))
        asked = self.study.ask()
        asked.set_user_attr("k", asked.user_attrs.get("k", asked.number))
        if named:  # else its worker has not come that far
            asked.suggest_float("x", 0, 1)
        put(self.folder, asked.number, "last.pt", "before.pt")
        self.done[asked.number] = (-1, -1)

    def begin(self, number: int) -> None:
        """Go on from the newest snapshot of the lineage, as `forget`, `newest` and `bring_best` do."""
        for name in SNAPSHOTS:
            self.path(number, name).unlink(missing_ok=True)
        trials = self.trials()
        k = trials[number].user_attrs["k"]
        should = self.newest.setdefault(k, [])
        found = None
        for path in (self.path(one.number, name) for one in ancestors(trials, trials[number]) for name in SNAPSHOTS[:2]):
            if path.exists() and path.read_text()[0].isdigit():  # neither damaged nor of another study
                found = path
                break
        told = None if found is None else tuple(map(int, found.read_text().split()))
        assert told == (should[0] if should else None), f"trial {number} found {told}, it should be {should[:1]}"
        progress, best = told or (0, 0)
        if found is not None and found.name == "last.pt":
            weights = found.with_name("best.pt")
            assert progress == best or int(weights.read_text()) == best
            self.path(number, "best.pt").write_text(str(best))
        self.done[number] = (progress, best)
        self._set(number, "health", {})

    def save(self, number: int, is_best: bool) -> None:
        progress, best = self.done[number][0] + 1, self.done[number][1]
        best = progress if is_best or not self.path(number, "best.pt").exists() else best
        if self.path(number, "last.pt").exists():
            self.path(number, "last.pt").replace(self.path(number, "before.pt"))
        self.path(number, "last.pt").write_text(f"{progress} {best}")
        if best == progress:
            self.path(number, "best.pt").write_text(str(best))
        self.done[number] = (progress, best)
        self.saved.add(number)
        k = self.k(number)
        self.newest[k] = [(progress, best), *self.newest.get(k, [])][:2]

    def die(self, number: int, damage: bool) -> None:
        """The worker is killed; where `damage`, with what it wrote last."""
        k, last, begun = self.k(number), self.path(number, "last.pt"), self.done[number] != (-1, -1)
        if damage and begun and last.exists() and len(self.newest[k]) == 2 and k not in self.damaged:
            self.damaged.add(k)
            last.write_text("damaged")
            self.newest[k] = self.newest[k][1:]
        release(self.study, number, "died", died=False)
        del self.done[number]

    def end(self, number: int, how: int) -> None:
        del self.done[number]
        if how == 0:
            self.study.tell(number, state=TrialState.FAIL)  # the button
            return
        self._set(number, "seconds", 1.0)
        if how == 1 and self.path(number, "best.pt").exists():
            self.study.tell(number, 1.0)
        else:
            self.study.tell(number, state=TrialState.PRUNED)

    def step(self, choice: int) -> None:
        """One of all the steps that are possible now."""
        fresh = [number for number, done in self.done.items() if done == (-1, -1)]
        begun = [number for number, done in self.done.items() if done != (-1, -1)]
        steps: list[Callable[[], None]] = [self.plan]
        steps += [partial(self.delete, plan) for plan in self.plans if plan for _ in range(3)]
        steps += [partial(self.start, named) for named in (True, True, False) if len(self.done) < 2]
        steps += [partial(self.begin, number) for number in fresh]
        steps += [partial(self.save, number, is_best) for number in begun for is_best in (True, False, False)]
        steps += [partial(self.die, number, damage) for number in self.done for damage in (True, False)]
        steps += [partial(self.end, number, choice % 3) for number in begun]
        steps[choice % len(steps)]()
        for number in self.saved & self.done.keys():
            progress, best = self.done[number]
            assert self.path(number, "last.pt").read_text() == f"{progress} {best}"
            assert int(self.path(number, "best.pt").read_text()) == best

    def plan(self) -> None:
        files = removable(self.trials(), self.folder, AT_ONCE, now=time.time() + 1).removals
        self.plans = [self.plans[-1], [file.path for file in files]]

    def delete(self, plan: list[Path]) -> None:
        plan.pop().unlink(missing_ok=True)

    def k(self, number: int) -> int:
        return int(self.trials()[number].user_attrs["k"])

    def _set(self, number: int, name: str, value: Any) -> None:
        self.study._storage.set_trial_user_attr(self.trials()[number]._trial_id, name, value)


@settings(max_examples=150)
@given(st.lists(st.integers(0, 10_000), min_size=20, max_size=80))
def test_no_order_of_steps_takes_what_somebody_needs(choices: list[int]) -> None:
    """Plans that are carried out late, by two tidiers, between the steps of two workers: every lineage goes on from its
    newest good snapshot, every complete trial has its weights, and at last nothing else is left."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        for choice in choices:
            world.step(choice)
        for number in list(world.done):
            world.end(number, 2)
        enqueue_owed(world.study, world.study.get_trials(deepcopy=False))
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


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A database with a study of twelve trials, of which every third is pruned and one runs, and with their files."""
    for name in ("voice", "other"):
        study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/tacotune.db"), study_name=name)
        study.add_trials([trial(number, "COMPLETE" if number % 3 else "PRUNED", number / 10) for number in range(11)])
        study.ask()
        for number in range(12):
            put(tmp_path / name, number, *SNAPSHOTS, "sample.wav", size=1_000_000)
    return tmp_path


def files(runs: Path) -> set[Path]:
    return {path for path in runs.rglob("*") if path.suffix in (".pt", ".wav")}


def test_workers_that_tidy_at_once_share_the_work(tmp_path: Path) -> None:
    """Each file is deleted, told by one of them, and no trouble to the others."""
    study = optuna.create_study()
    study.add_trials([trial(number, "PRUNED") for number in range(100)])
    for number in range(100):
        put(tmp_path, number, *SNAPSHOTS)
    together = Barrier(4)

    def one(_: int) -> Plan:
        together.wait(timeout=60)
        return tidy(study.get_trials(deepcopy=False), tmp_path)

    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(one, range(4)))
    deleted = [file.path for plan in plans for file in plan.removals]
    assert len(deleted) == len(set(deleted)) == 300
    assert all(plan.note is None for plan in plans)


def test_a_file_that_cannot_be_deleted_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root may delete everything, so the disk's refusal is played."""
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
    assert gone(plan) == {"0/before.pt", "0/best.pt"}
    assert plan.note == f"cannot delete {trial_folder(tmp_path, 0)}/last.pt: operation not permitted"


def test_a_dry_run_says_what_goes_and_deletes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(runs)
    words = ["--study", "voice", "--out", str(runs), "--top-k", "2"]
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert files(runs) == before
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[:-6] == said.splitlines()[:-6], "the same table"
    went = before - files(runs)
    assert {path.parent.parent.name for path in went} == {"voice"}
    assert len(went) == 2 * 7 + 3 * 4 + 5
    assert f"{len(went)} files, {len(went)} MB would be deleted" in said
    assert "    3  PRUNED    best.pt    1 MB  pruned" in said
    assert "   10  COMPLETE  best.pt    1 MB  not among the 2 best" in said
    assert "5 files, 5 MB kept:\n  3 files, 3 MB: its trial runs\n  2 files, 2 MB: best weights" in said
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("0 files, 0 B deleted")


def test_a_quota_that_cannot_be_met_is_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--study", "voice", "--out", str(runs), "--quota-gb", "0.001", "--keep-pruned", "--dry-run"]) == 0
    assert "must stay take 4 MB, over the quota of 1 MB" in capsys.readouterr().out


BAD = {
    "no such study": (["--study", "voise"], "need the name of a study, got voise: say one of other, voice"),
    "no database": (["--study", "voice", "--out", "nowhere"], "need the database of the study, got nowhere/tacotune.db"),
    "no folder": (["--study", "lone"], "need the folder of the study"),
    "none to keep": (["--study", "voice", "--top-k", "0"], "need top_k >= 1, got 0"),
    "no quota": (["--study", "voice", "--quota-gb", "-1"], "need a quota in GB above 0, got -1"),
    "no URL": (["--study", "voice", "--storage", "nonsense"], "need a storage URL"),
    "nobody there": (["--study", "voice", "--storage", "postgresql://u:geheim@127.0.0.1:1/x"], "cannot open postgresql"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_two_and_one_sentence(case: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optuna.create_study(storage=open_storage(f"sqlite:///{runs}/tacotune.db"), study_name="lone")
    before = files(runs)
    more, words = BAD[case]
    if case == "no such study":
        optuna.delete_study(storage=open_storage(f"sqlite:///{runs}/tacotune.db"), study_name="lone")
    assert main(["--out", str(runs), *more]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "geheim" not in printed.err + printed.out
    assert files(runs) == before


def test_a_database_that_is_missing_stays_missing(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "runs")]) == 2
    assert main(["--storage", f"sqlite:///{tmp_path}/x/y.db"]) == 2
    assert main(["--storage", f"postgres-local:{tmp_path}/server"]) == 2
    assert list(tmp_path.iterdir()) == []
