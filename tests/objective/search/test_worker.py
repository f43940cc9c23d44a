"""A worker between two trials: which one it may run, what it releases, and when it stops waiting."""

from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from model.selftest import Abilities
from objective.events.fanout import Sinks
from objective.events.types import Warned
from objective.runtime.signals import Interruption
from objective.search.enqueue import enqueue_next
from objective.search.worker import _run, reclaim, work
from objective.settings.schema import Settings
from objective.trial.context import TrainingData, WorkerContext
from objective.trial.ears import Ears
from search_spaces.recipes import load_recipes
from search_spaces.space import load
from storage.leases import Lease, Watch, owner
from storage.studies import open_storage
from tests.objective.recorder import Recorder


def context_of(tmp_path: Path, recorder: Recorder | None = None, **study: object) -> WorkerContext:
    """A context without a corpus: nothing here trains."""
    given = {"profile": "demo", "out": tmp_path, "study": {"space": "demo", **study}, "budget": {"kframes": 400}}
    settings = Settings.model_validate(given)
    space = load("demo", settings.config())
    data = TrainingData(space, None, torch.device("cpu"), Abilities("deferred", False), None, None, Ears(None))  # type: ignore[arg-type]
    return WorkerContext(settings, data, None, (), Watch(60.0), Sinks([recorder or Recorder()]), Interruption())  # type: ignore[arg-type]


def test_a_new_trial_gives_way_to_an_older_waiting_one(tmp_path: Path) -> None:
    """Two trials wanted, one finished. A retry was enqueued while a worker started a new trial: both would be one too many."""
    study, context = optuna.create_study(), context_of(tmp_path, trials=2)
    study.tell(study.ask(), 1.0)
    study.enqueue_trial({}, user_attrs={"k": 1})
    newer = optuna.Trial(study, study._storage.create_new_trial(study._study_id))
    with Lease(study, newer, context.watch, 60.0, pytest.fail) as lease:
        assert _run(study, newer, context, 2, lease, waits=False) is None
    assert study.trials[2].user_attrs["released"] == "another worker runs the last trial"
    assert study.ask().number == 1


def test_a_trial_that_could_not_be_released_is_released_later(tmp_path: Path) -> None:
    """The database was unreachable when its trial stopped. The worker is alive, so no other one would release the trial."""
    study = optuna.create_study()
    own, elsewhere = study.ask(), study.ask()
    own.set_user_attr("owner", owner())
    elsewhere.set_user_attr("owner", {**owner(), "host": "elsewhere"})
    assert reclaim(study, context_of(tmp_path))[1] == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]
    assert "died" not in study.trials[0].user_attrs


@pytest.mark.parametrize("requested", [True, False])
def test_a_worker_that_waits_for_its_database_stops_when_it_should(requested: bool, tmp_path: Path) -> None:
    recorder = Recorder()
    context = context_of(tmp_path, recorder, on_failure="wait")
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/x.db", retry_s=0), study_name="s")
    (tmp_path / "x.db").rename(tmp_path / "gone.db")
    if requested:
        context.interruption.request()
    else:
        context.interruption.stop_after(0.2)
    end = work_after_the_start(study, context)
    assert (end.code, end.early) == ((130, True) if requested else (0, True))
    assert len([event for event in recorder.events if isinstance(event, Warned)]) <= 1


def work_after_the_start(study: optuna.Study, context: WorkerContext):  # type: ignore[no-untyped-def]
    """`work` on a study whose database became unreachable after the worker had started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("objective.search.stopping.finished", lambda study: [])
        return work(study, context)


def test_recipes_are_enqueued_one_at_a_time(tmp_path: Path) -> None:
    study, context = optuna.create_study(), context_of(tmp_path)
    names = ("tacotune", "nvidia", "coqui")
    origins = []
    for _ in names:
        enqueue_next(study, study.get_trials(deepcopy=False), context.space, names, 0)
        enqueue_next(study, study.get_trials(deepcopy=False), context.space, names, 0)
        (waiting,) = study.get_trials(states=(TrialState.WAITING,))
        origins.append(waiting.user_attrs["origin"])
        trial = study.ask()
        context.space.suggest(trial)
        study.tell(trial, 1.0)
    assert origins == [f"recipe {name}" for name in names]
    assert [trial.user_attrs["k"] for trial in study.trials] == [0, 1, 2]
    enqueue_next(study, study.get_trials(deepcopy=False), context.space, names, 0)
    assert study.get_trials(states=(TrialState.WAITING,)) == []
    assert study.trials[1].params.items() >= context.space.to_trial_params(load_recipes()["nvidia"])[0].items()


def test_a_worker_whose_waiting_configuration_was_taken_does_not_ask_the_sampler(tmp_path: Path) -> None:
    """Another worker takes the recipe between the check that it waits and `ask`: the next recipe is due, not a sample."""
    study, context = optuna.create_study(), context_of(tmp_path)
    assert enqueue_next(study, study.get_trials(deepcopy=False), context.space, ("tacotune",), 0)
    study.ask()
    sampled = study.ask()
    with Lease(study, sampled, context.watch, 60.0, pytest.fail) as lease:
        assert _run(study, sampled, context, 2, lease, waits=True) is None
    assert study.trials[sampled.number].user_attrs["dropped"] == "another worker took the configuration that waited"
