"""What a worker does between two trials: who may run the next one, what it gives back, and when it stops waiting."""

from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from objective.events.fanout import Sinks
from objective.events.types import Event, Warned
from objective.runtime.signals import Interruption
from objective.search.enqueue import fill
from objective.search.worker import _run, reclaim, work
from objective.settings.schema import Settings
from objective.trial.context import TrainingData, WorkerContext
from search_spaces.recipes import load_recipes
from search_spaces.space import load
from storage.leases import Lease, Watch, owner
from storage.studies import open_storage


class Said:
    name = "said"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def lab_of(tmp_path: Path, said: Said | None = None, **wanted: object) -> WorkerContext:
    """A context without a corpus: nothing here trains."""
    settings = Settings.model_validate({"profile": "demo", "out": tmp_path, "study": {"space": "demo", **wanted}})
    known = TrainingData(load("demo", settings.config()), None, torch.device("cpu"), None)  # type: ignore[arg-type]
    return WorkerContext(settings, known, None, (), Watch(60.0), Sinks([said or Said()]), Interruption())  # type: ignore[arg-type]


def test_a_new_trial_gives_way_to_an_older_one_that_waits(tmp_path: Path) -> None:
    """Two places, one finished; a point was enqueued while a worker asked for a new one. Together they would be too many."""
    study, context = optuna.create_study(), lab_of(tmp_path, trials=2)
    study.tell(study.ask(), 1.0)
    study.enqueue_trial({}, user_attrs={"k": 1})
    newer = optuna.Trial(study, study._storage.create_new_trial(study._study_id))
    with Lease(study, newer, context.watch, 60.0, pytest.fail) as lease:
        assert _run(study, newer, context, 2, lease) is None
    assert study.trials[2].user_attrs["released"] == "another worker runs the last trial"
    assert study.ask().number == 1


def test_what_a_worker_could_not_give_back_it_gives_back_later(tmp_path: Path) -> None:
    """The database was away when its trial ended; it lives on, so nobody else would ever think the trial dead."""
    study = optuna.create_study()
    mine, elsewhere = study.ask(), study.ask()
    mine.set_user_attr("owner", owner())
    elsewhere.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    assert reclaim(study, lab_of(tmp_path))[1] == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert "died" not in study.trials[0].user_attrs


@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_that_waits_for_its_database_stops_when_it_should(asked: bool, tmp_path: Path) -> None:
    said = Said()
    context = lab_of(tmp_path, said, on_failure="wait")
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db", patience_s=0), study_name="s")
    (tmp_path / "x.db").rename(tmp_path / "gone.db")
    if asked:
        context.interruption.ask()
    else:
        context.interruption.allow(0.2)
    end = work_without_looking(study, context)
    assert (end.code, end.early) == ((130, True) if asked else (0, True))
    assert len([event for event in said.events if isinstance(event, Warned)]) <= 1


def work_without_looking(study: optuna.Study, context: WorkerContext):  # type: ignore[no-untyped-def]
    """`work` on a study whose database went away after the worker had first seen it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("objective.search.stopping.finished", lambda study: [])
        return work(study, context)


def test_recipes_are_enqueued_one_at_a_time_after_what_is_owed(tmp_path: Path) -> None:
    study, context = optuna.create_study(), lab_of(tmp_path)
    names = ("tacotune", "nvidia", "coqui")
    origins = []
    for _ in names:
        fill(study, study.get_trials(deepcopy=False), context.space, names, 0)
        fill(study, study.get_trials(deepcopy=False), context.space, names, 0)
        (waiting,) = study.get_trials(states=(TrialState.WAITING,))
        origins.append(waiting.user_attrs["origin"])
        trial = study.ask()
        context.space.suggest(trial)
        study.tell(trial, 1.0)
    assert origins == [f"recipe {name}" for name in names]
    assert [trial.user_attrs["k"] for trial in study.trials] == [0, 1, 2]
    fill(study, study.get_trials(deepcopy=False), context.space, names, 0)
    assert study.get_trials(states=(TrialState.WAITING,)) == []
    assert study.trials[1].params.items() >= context.space.to_trial_params(load_recipes()["nvidia"])[0].items()
