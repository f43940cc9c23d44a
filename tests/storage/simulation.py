"""A study whose workers and clean-ups take single steps in any order, to test that no step removes a needed file."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from storage.lineage import ancestors, enqueue_retries, release
from storage.paths import trial_folder
from storage.retention import removable
from tests.storage.trials import AT_ONCE, SNAPSHOTS, put


class Simulation:
    """Two workers and two concurrent clean-ups of one study in memory, with real files, that take single steps in any order.

    A snapshot holds the progress of its trial and the progress at its best weights, as in objective/trial/checkpoint.py.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = optuna.create_study()
        self.done: dict[int, tuple[int, int]] = {}  # running trial -> its progress and that of its best weights
        self.newest: dict[int, list[tuple[int, int]]] = {}  # k -> what a retry should find, newest first
        self.damaged: set[int] = set()  # the ks that had a damaged snapshot: at most one each
        self.saved: set[int] = set()
        self.plans: list[list[Path]] = [[], []]  # two clean-ups: the files that they have not deleted yet

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def path(self, number: int, name: str) -> Path:
        return trial_folder(self.folder, number) / name

    def start(self, with_parameters: bool) -> None:
        """Start a trial. Its folder still holds files of an earlier study with this name."""
        enqueue_retries(self.study, self.study.get_trials(deepcopy=False))
        started = self.study.ask()
        started.set_user_attr("k", started.user_attrs.get("k", started.number))
        if with_parameters:  # else its worker has not come that far
            started.suggest_float("x", 0, 1)
        put(self.folder, started.number, "last.pt", "before.pt")
        self.done[started.number] = (-1, -1)

    def begin(self, number: int) -> None:
        """Resume from the newest snapshot of the lineage, as objective/trial/checkpoint.py does."""
        for name in SNAPSHOTS:
            self.path(number, name).unlink(missing_ok=True)
        trials = self.trials()
        k = trials[number].user_attrs["k"]
        expected = self.newest.setdefault(k, [])
        found = None
        for path in (self.path(one.number, name) for one in ancestors(trials, trials[number]) for name in SNAPSHOTS[:2]):
            if path.exists() and path.read_text()[0].isdigit():  # neither damaged nor of another study
                found = path
                break
        state = None if found is None else tuple(map(int, found.read_text().split()))
        assert state == (expected[0] if expected else None), f"trial {number} found {state}, expected {expected[:1]}"
        progress, best = state or (0, 0)
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
        """Kill the worker; `damage` also damages its last snapshot."""
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
            self.study.tell(number, state=TrialState.FAIL)  # the dashboard's button
            return
        self._set(number, "seconds", 1.0)
        if how == 1 and self.path(number, "best.pt").exists():
            self.study.tell(number, 1.0)
        else:
            self.study.tell(number, state=TrialState.PRUNED)

    def step(self, choice: int) -> None:
        """Take one of the steps that are possible now."""
        fresh = [number for number, done in self.done.items() if done == (-1, -1)]
        begun = [number for number, done in self.done.items() if done != (-1, -1)]
        steps: list[Callable[[], None]] = [self.plan]
        steps += [partial(self.delete, plan) for plan in self.plans if plan for _ in range(3)]
        steps += [partial(self.start, with_parameters) for with_parameters in (True, True, False) if len(self.done) < 2]
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
