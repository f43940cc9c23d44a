"""A released point comes again, once, with its lineage and nothing else; whoever dies between two writes loses nothing."""

import optuna
import pytest
from optuna.trial import TrialState

from storage.lineage import DEATHS, ancestors, doubled, drop, enqueue_owed, ordinal, point, release


def asked(study: optuna.Study, **known: object) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for name, value in known.items():
        trial.set_user_attr(name, value)
    return trial


def waiting(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(TrialState.WAITING,))


def test_a_released_point_comes_again_with_its_lineage_only() -> None:
    study = optuna.create_study()
    trial = asked(study, k=0, origin="recipe nvidia", repair_of=7, health={"v": 1}, owner={"pid": 1}, beat=3)
    trial.report(0.5, 10)
    trial.set_constraint("health/diagonality", 1.0)
    study._storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.5)
    assert release(study, 0, "interrupted")
    enqueue_owed(study, study.get_trials(deepcopy=False))
    enqueue_owed(study, study.get_trials(deepcopy=False))
    (again,) = waiting(study)
    assert again.user_attrs == {"k": 0, "origin": "recipe nvidia", "repair_of": 7, "again_of": 0}
    assert point(again) == trial.params
    assert again.intermediate_values == {}
    assert list(again.system_attrs) == ["fixed_params"]
    assert [it.number for it in ancestors(study.trials, again)] == [0]


def test_a_trial_is_released_once_and_never_after_its_end() -> None:
    study = optuna.create_study()
    asked(study, k=0)
    assert release(study, 0, "its worker died")
    assert not release(study, 0, "its worker died")
    study.tell(asked(study, k=1), 1.0)
    assert not release(study, 1, "its worker died")
    assert study.trials[1].state == TrialState.COMPLETE


def test_what_a_person_ended_and_what_had_no_point_do_not_come_again() -> None:
    study = optuna.create_study()
    study.tell(asked(study, k=0), state=TrialState.FAIL)
    study.ask()
    release(study, 1, "its worker died", died=True)
    drop(study, asked(study, k=1), "another worker runs the same point")
    enqueue_owed(study, study.get_trials(deepcopy=False))
    assert waiting(study) == []


def test_who_dies_between_fail_and_enqueueing_loses_nothing() -> None:
    """The successor follows from the released trial; nobody has to remember it."""
    study = optuna.create_study()
    asked(study, k=0)
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "released", "its worker died")
    study._storage.set_trial_state_values(study.trials[0]._trial_id, TrialState.FAIL)
    enqueue_owed(study, study.get_trials(deepcopy=False))
    assert [trial.user_attrs["again_of"] for trial in waiting(study)] == [0]


@pytest.mark.parametrize("task", ["again_of", "repair_of"])
def test_of_two_that_enqueued_one_task_the_first_runs_it(task: str) -> None:
    study = optuna.create_study()
    asked(study, k=0)
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, task: 0})
    first, second = asked(study), asked(study)
    assert not doubled(study.get_trials(deepcopy=False), first)
    assert doubled(study.get_trials(deepcopy=False), second)
    release(study, first.number, "interrupted")
    assert doubled(study.get_trials(deepcopy=False), second), "its own successor takes the first one's place"
    assert not doubled(study.get_trials(deepcopy=False), asked(study, k=1))


def test_a_twin_that_was_released_does_not_come_again() -> None:
    """It was asked for while the study had no room, or its worker died before it could be dropped."""
    study = optuna.create_study()
    asked(study, k=0)
    release(study, 0, "interrupted")
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "again_of": 0})
    for trial in (asked(study), asked(study)):
        release(study, trial.number, "another worker runs the last trial")
    enqueue_owed(study, study.get_trials(deepcopy=False))
    assert [trial.user_attrs["again_of"] for trial in waiting(study)] == [1]


def test_a_recipe_that_two_workers_enqueued_is_run_by_one() -> None:
    study = optuna.create_study()
    for _ in range(2):
        study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "origin": "recipe nvidia"})
    first, second = asked(study), asked(study)
    assert [doubled(study.get_trials(deepcopy=False), trial) for trial in (first, second)] == [False, True]
    release(study, 0, "interrupted")
    enqueue_owed(study, study.get_trials(deepcopy=False))
    again = asked(study)
    assert again.user_attrs["origin"] == "recipe nvidia"
    assert not doubled(study.get_trials(deepcopy=False), again), "it is the first one's own"


def test_what_an_earlier_version_released_is_not_run_twice() -> None:
    """It named the trial before in the origin alone."""
    study = optuna.create_study()
    asked(study, k=0)
    release(study, 0, "interrupted")
    study.enqueue_trial({"x": 0.5}, user_attrs={"k": 0, "origin": "again after trial 0"})
    study.tell(asked(study), 1.0)
    enqueue_owed(study, study.get_trials(deepcopy=False))
    assert waiting(study) == []


def test_a_point_that_kills_every_worker_is_given_up() -> None:
    study = optuna.create_study()
    asked(study, k=0)
    for death in range(DEATHS):
        assert "given_up" not in study.trials[-1].user_attrs
        release(study, death, "its worker died", died=True)
        enqueue_owed(study, study.get_trials(deepcopy=False))
        if waiting(study):
            asked(study)
    assert len(study.trials) == DEATHS
    assert "given_up" in study.trials[-1].user_attrs


@pytest.mark.parametrize("spared", ["interrupted", "moved", "further"])
def test_a_point_that_gets_on_is_not_given_up(spared: str) -> None:
    """One clean release among the deaths, one report or one snapshot more, and it has its chances again."""
    study = optuna.create_study()
    trial = asked(study, k=0)
    for death in range(DEATHS + 1):
        if death == 2 and spared == "moved":
            trial.report(1.0, 10)
        if death == 2 and spared == "further":
            trial.set_user_attr("from_kframes", 3.0)  # where it went on, between two reports
        release(study, death, "why", died=not (death == 2 and spared == "interrupted"))
        enqueue_owed(study, study.get_trials(deepcopy=False))
        assert waiting(study), death
        trial = asked(study)


def test_the_k_of_a_point_is_its_place_among_the_points() -> None:
    study = optuna.create_study()
    for _ in range(2):
        study.tell(asked(study, k=ordinal(study.trials, len(study.trials))), 1.0)
    asked(study, k=2)
    release(study, 2, "interrupted")
    enqueue_owed(study, study.get_trials(deepcopy=False))
    study.tell(asked(study), 1.0)
    study.ask()
    release(study, 4, "its worker died", died=True)  # before it had a k
    drop(study, asked(study, repair_of=1, k=1), "another worker runs the same point")
    assert [trial.user_attrs.get("k") for trial in study.trials] == [0, 1, 2, 2, None, 1]
    assert ordinal(study.trials, 6) == 3


def test_no_k_is_given_twice() -> None:
    """A trial that had no point yet counts, and then does not: the next one must not get the k of one that began between."""
    study = optuna.create_study()
    study.ask()
    asked(study, k=ordinal(study.trials, 1))
    release(study, 0, "its worker died", died=True)
    assert study.trials[1].user_attrs["k"] == 1
    for _ in range(3):
        study.ask()
    assert [ordinal(study.trials, number) for number in (2, 3, 4)] == [2, 3, 4], "three workers that ask at once"


def test_new_points_come_after_those_that_were_copied() -> None:
    """Copies keep their k, with gaps; two workers that ask at once get two ks that nobody has."""
    study = optuna.create_study()
    for k in (0, 3, 7):
        study.tell(asked(study, k=k, migrated_from=f"old trial {k}"), 1.0)
    study.ask()
    study.ask()
    assert [ordinal(study.trials, number) for number in (3, 4)] == [8, 9]
