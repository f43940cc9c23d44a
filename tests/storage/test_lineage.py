"""A released configuration is retried once, with its lineage and nothing else, even if a worker dies between two writes."""

import optuna
import pytest
from optuna.trial import TrialState

from storage.lineage import MAX_DEATHS, ancestors, discard, enqueue_retries, is_duplicate, ordinal, parameters_of, release


def started(study: optuna.Study, **attributes: object) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def waiting(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(TrialState.WAITING,))


def test_a_released_configuration_is_retried_with_its_lineage_only() -> None:
    study = optuna.create_study()
    trial = started(study, k=0, origin="recipe nvidia", repair_of=7, health={"v": 1}, owner={"pid": 1}, beat=3)
    trial.report(0.5, 10)
    trial.set_constraint("health/diagonality", 1.0)
    study._storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.5)
    assert release(study, 0, "interrupted")
    enqueue_retries(study, study.get_trials(deepcopy=False))
    enqueue_retries(study, study.get_trials(deepcopy=False))
    (again,) = waiting(study)
    assert again.user_attrs == {"k": 0, "origin": "recipe nvidia", "repair_of": 7, "again_of": 0}
    assert parameters_of(again) == trial.params
    assert again.intermediate_values == {}
    assert list(again.system_attrs) == ["fixed_params"]
    assert [it.number for it in ancestors(study.trials, again)] == [0]


def test_a_trial_of_a_space_without_parameters_is_retried() -> None:
    study = optuna.create_study()
    study.ask().set_user_attr("k", 0)
    assert release(study, 0, "interrupted")
    assert enqueue_retries(study, study.get_trials(deepcopy=False))
    assert [again.user_attrs for again in waiting(study)] == [{"k": 0, "again_of": 0}]


def test_a_trial_is_released_once_and_never_after_its_end() -> None:
    study = optuna.create_study()
    started(study, k=0)
    assert release(study, 0, "its worker died")
    assert not release(study, 0, "its worker died")
    study.tell(started(study, k=1), 1.0)
    assert not release(study, 1, "its worker died")
    assert study.trials[1].state == TrialState.COMPLETE


def test_trials_ended_by_a_person_or_before_they_had_a_k_are_not_retried() -> None:
    study = optuna.create_study()
    study.tell(started(study, k=0), state=TrialState.FAIL)
    study.ask()
    release(study, 1, "its worker died", died=True)
    discard(study, started(study, k=1), "another worker runs the same configuration")
    enqueue_retries(study, study.get_trials(deepcopy=False))
    assert waiting(study) == []


def test_a_death_between_failing_and_enqueueing_loses_nothing() -> None:
    """The retry follows from the released trial alone; no worker has to remember it."""
    study = optuna.create_study()
    started(study, k=0)
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "released", "its worker died")
    study._storage.set_trial_state_values(study.trials[0]._trial_id, TrialState.FAIL)
    enqueue_retries(study, study.get_trials(deepcopy=False))
    assert [trial.user_attrs["again_of"] for trial in waiting(study)] == [0]


@pytest.mark.parametrize("task", ["again_of", "repair_of"])
def test_a_task_enqueued_twice_is_run_by_the_first(task: str) -> None:
    study = optuna.create_study()
    started(study, k=0)
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, task: 0})
    first, second = started(study), started(study)
    assert not is_duplicate(study.get_trials(deepcopy=False), first)
    assert is_duplicate(study.get_trials(deepcopy=False), second)
    release(study, first.number, "interrupted")
    assert is_duplicate(study.get_trials(deepcopy=False), second), "its retry takes the place of the first one"
    assert not is_duplicate(study.get_trials(deepcopy=False), started(study, k=1))


def test_a_released_duplicate_is_not_retried() -> None:
    """Such a trial started while the study had no place left, or its worker died before it could be discarded."""
    study = optuna.create_study()
    started(study, k=0)
    release(study, 0, "interrupted")
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "again_of": 0})
    for trial in (started(study), started(study)):
        release(study, trial.number, "another worker runs the last trial")
    enqueue_retries(study, study.get_trials(deepcopy=False))
    assert [trial.user_attrs["again_of"] for trial in waiting(study)] == [1]


def test_a_recipe_enqueued_by_two_workers_is_run_by_one() -> None:
    study = optuna.create_study()
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "origin": "recipe nvidia"})
    first, second = started(study), started(study)
    assert [is_duplicate(study.get_trials(deepcopy=False), trial) for trial in (first, second)] == [False, True]
    release(study, 0, "interrupted")
    enqueue_retries(study, study.get_trials(deepcopy=False))
    again = started(study)
    assert again.user_attrs["origin"] == "recipe nvidia"
    assert not is_duplicate(study.get_trials(deepcopy=False), again), "it is the retry of the first one"


def test_a_trial_released_by_an_earlier_version_is_not_retried_twice() -> None:
    """Earlier versions recorded the retried trial in the origin alone."""
    study = optuna.create_study()
    started(study, k=0)
    release(study, 0, "interrupted")
    study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "origin": "again after trial 0"})
    study.tell(started(study), 1.0)
    enqueue_retries(study, study.get_trials(deepcopy=False))
    assert waiting(study) == []


def test_a_configuration_that_kills_every_worker_is_given_up() -> None:
    study = optuna.create_study()
    started(study, k=0)
    for death in range(MAX_DEATHS):
        assert "given_up" not in study.trials[-1].user_attrs
        release(study, death, "its worker died", died=True)
        enqueue_retries(study, study.get_trials(deepcopy=False))
        if waiting(study):
            started(study)
    assert len(study.trials) == MAX_DEATHS
    assert "given_up" in study.trials[-1].user_attrs


@pytest.mark.parametrize("spared", ["interrupted", "moved", "further"])
def test_a_configuration_that_progresses_is_not_given_up(spared: str) -> None:
    """One regular release among the deaths, or one more report or snapshot, and the count starts again."""
    study = optuna.create_study()
    trial = started(study, k=0)
    for death in range(MAX_DEATHS + 1):
        if death == 2 and spared == "moved":
            trial.report(1.0, 10)
        if death == 2 and spared == "further":
            trial.set_user_attr("from_kframes", 3.0)  # where it resumed, between two reports
        release(study, death, "why", died=not (death == 2 and spared == "interrupted"))
        enqueue_retries(study, study.get_trials(deepcopy=False))
        assert waiting(study), death
        trial = started(study)


def test_the_ordinal_counts_the_new_configurations() -> None:
    study = optuna.create_study()
    for _ in range(2):
        study.tell(started(study, k=ordinal(study.trials, len(study.trials))), 1.0)
    started(study, k=2)
    release(study, 2, "interrupted")
    enqueue_retries(study, study.get_trials(deepcopy=False))
    study.tell(started(study), 1.0)
    study.ask()
    release(study, 4, "its worker died", died=True)  # before it had a k
    discard(study, started(study, repair_of=1, k=1), "another worker runs the same configuration")
    assert [trial.user_attrs.get("k") for trial in study.trials] == [0, 1, 2, 2, None, 1]
    assert ordinal(study.trials, 6) == 3


def test_no_ordinal_is_given_twice() -> None:
    """A trial without parameters counts until it is released. The next one must not get the k of a trial started in between."""
    study = optuna.create_study()
    study.ask()
    started(study, k=ordinal(study.trials, 1))
    release(study, 0, "its worker died", died=True)
    assert study.trials[1].user_attrs["k"] == 1
    for _ in range(3):
        study.ask()
    assert [ordinal(study.trials, number) for number in (2, 3, 4)] == [2, 3, 4], "three workers start at once"


def test_ordinals_of_new_configurations_follow_those_of_copies() -> None:
    """Copies keep their k, with gaps; two workers that start at once get two unused ones."""
    study = optuna.create_study()
    for k in (0, 3, 7):
        study.tell(started(study, k=k, migrated_from=f"old trial {k}"), 1.0)
    study.ask()
    study.ask()
    assert [ordinal(study.trials, number) for number in (3, 4)] == [8, 9]
