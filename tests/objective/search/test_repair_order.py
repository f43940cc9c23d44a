"""Repairs in a study: which trial is repaired next, how often, and by which worker."""

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from objective.display.summary import ended
from objective.search.enqueue import enqueue_next
from objective.search.repair import diagnoses, next_repair
from search_spaces.space import Space, load
from storage.lineage import is_duplicate, parameters_of
from tests.objective.search.knobs import GATE, GUIDED, RATE

DEMO = load("demo")


def run(study: optuna.Study, space: Space, rule: str | None, state: TrialState = TrialState.PRUNED, **attributes: Any) -> None:
    """Start and end one trial, which is sick by `rule` unless that is None."""
    trial = study.ask()
    space.suggest(trial)
    for name, value in ({"k": trial.number} | trial.user_attrs | attributes).items():
        trial.set_user_attr(name, value)
    if rule and state == TrialState.COMPLETE:
        trial.set_constraint(f"health/{rule}", 0.2)
    elif rule:
        trial.set_user_attr("pruned_by", rule)
    study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)


def enqueue_repair(study: optuna.Study, space: Space, max_repairs: int) -> int | None:
    """Enqueue the next configuration; return the number of the trial that it repairs, None where nothing is enqueued."""
    before = len(study.trials)
    enqueue_next(study, study.get_trials(deepcopy=False), space, (), max_repairs)
    added = study.trials[before:]
    return int(added[0].user_attrs["repair_of"]) if added else None


def empty() -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_chain_of_repairs_ends_at_its_limit(limit: int) -> None:
    study, space = empty(), DEMO
    study.enqueue_trial(space.to_trial_params({GUIDED: 0.6})[0])
    run(study, space, "diagonality")
    chain = []
    while (parent := enqueue_repair(study, space, limit)) is not None:
        chain.append(parent)
        run(study, space, "diagonality")
    assert chain == list(range(limit))
    assert [trial.params[GUIDED] for trial in study.trials] == [0.6 * 2**n for n in range(limit + 1)]


def test_every_trial_is_repaired_once_before_any_repair_is() -> None:
    """The order is that of k, which a retry keeps, and not of the trial numbers, which an interruption changes."""
    study, space = empty(), DEMO
    for number in range(3):
        study.enqueue_trial(space.to_trial_params({GUIDED: 0.6 + number / 100})[0])
    for k in (2, 0, 1):
        run(study, space, "diagonality", k=k)
    order = []
    while (parent := enqueue_repair(study, space, 2)) is not None:
        order.append(parent)
        run(study, space, "diagonality")
    assert order == [1, 2, 0, 3, 4, 5]
    assert len({str(sorted(parameters_of(trial).items())) for trial in study.trials}) == 9


def test_no_configuration_is_tried_twice() -> None:
    """Otherwise a stagnating trial and an exploding one at twice its rate would repair each other for ever."""
    study, space = empty(), DEMO
    for rate in (1e-3, 2e-3):
        study.enqueue_trial(space.to_trial_params({RATE: rate})[0])
    run(study, space, "stagnation")
    run(study, space, "grad_norm")
    assert enqueue_repair(study, space, 2) is None


def test_a_repair_comes_after_all_waiting_trials() -> None:
    study, space = empty(), DEMO
    for guided in (0.1, 0.3):
        study.enqueue_trial(space.to_trial_params({GUIDED: guided})[0])
    run(study, space, "diagonality")
    assert enqueue_repair(study, space, 2) is None, "a recipe waits"
    run(study, space, None, TrialState.COMPLETE)
    assert enqueue_repair(study, space, 2) == 0
    assert enqueue_repair(study, space, 2) is None, "the repair itself waits"


def test_a_repair_enqueued_by_two_workers_is_run_by_the_first() -> None:
    """Both found it pending before either had enqueued it."""
    study, space = empty(), DEMO
    study.enqueue_trial(space.to_trial_params({GUIDED: 0.1})[0])
    run(study, space, "diagonality")
    assert enqueue_repair(study, space, 2) == 0
    study.enqueue_trial(parameters_of(study.trials[1]), user_attrs=study.trials[1].user_attrs)
    first, second, sampled = study.ask(), study.ask(), study.ask()
    assert [is_duplicate(study.get_trials(deepcopy=False), trial) for trial in (first, second, sampled)] == [False, True, False]


def test_healthy_failed_and_merely_slow_trials_have_no_repair() -> None:
    study, space = empty(), DEMO
    run(study, space, None, TrialState.COMPLETE)
    run(study, space, "diagonality", TrialState.FAIL)
    run(study, space, "peers")
    assert enqueue_repair(study, space, 2) is None
    run(study, space, "understood", TrialState.COMPLETE)
    assert enqueue_repair(study, space, 2) == 3


def test_the_cause_among_several_missed_targets_is_repaired_first() -> None:
    study, space = empty(), DEMO
    study.enqueue_trial(space.to_trial_params({})[0])
    trial = study.ask()
    space.suggest(trial)
    trial.set_user_attr("k", 0)
    trial.set_user_attr("free_faults", {"endless": 9, "skipped": 4})
    for target in ("free_failures", "understood", "reading"):
        trial.set_constraint(f"health/{target}", 0.3)
    trial.set_constraint("health/diagonality", -0.1)
    study.tell(trial, 1.0)
    due = next_repair(study.trials, space, 1)
    assert due is not None
    assert due[1].changes == (f"{GUIDED} 1 -> 2",)
    assert enqueue_repair(study, space, 1) == 0
    run(study, space, None, TrialState.COMPLETE)
    assert enqueue_repair(study, space, 1) is None, "one repair for each trial, though its gate still misses its target"


@pytest.mark.parametrize(
    ("faults", "changes"),
    [
        ({"cut": 6, "endless": 2}, f"{GATE} 4 -> 2"),
        ({"cut": 2, "endless": 6}, f"{GATE} 4 -> 8"),
        ({"late": 3, "mumbled": 1}, f"{GATE} 4 -> 8"),
        ({"mumbled": 1, "stuck": 3}, f"{GUIDED} 1 -> 2"),
    ],
)
def test_what_is_repaired_is_the_fault_that_most_sentences_have(faults: dict[str, int], changes: str) -> None:
    study, space = empty(), DEMO
    study.enqueue_trial(space.to_trial_params({GATE: 4.0, GUIDED: 1.0})[0])
    trial = study.ask()
    space.suggest(trial)
    trial.set_user_attr("k", 0)
    trial.set_user_attr("free_faults", faults)
    trial.set_constraint("health/free_failures", 0.5)
    trial.set_constraint("health/understood", -0.05)
    study.tell(trial, 1.0)
    due = next_repair(study.trials, space, 1)
    assert due is not None
    assert due[1].changes == (changes,)


def test_causes_come_before_effects_and_a_fault_stands_for_its_target() -> None:
    study = empty()
    trial = study.ask()
    trial.set_user_attr("free_faults", {"mumbled": 2, "endless": 9})
    for target in ("free_failures", "understood", "reading", "diagonality"):
        trial.set_constraint(f"health/{target}", 0.3)
    study.tell(trial, 1.0)
    assert diagnoses(study.trials[0]) == ("diagonality", "reading", "understood", "endless")


def test_the_closing_page_counts_repairs_that_rank_before_their_parents() -> None:
    study, space = empty(), DEMO
    run(study, space, "diagonality", pruned_severity=0.5)
    run(study, space, "diagonality", pruned_severity=0.4, repair_of=0)
    run(study, space, "diagonality", pruned_severity=0.4, repair_of=1)
    run(study, space, None, TrialState.COMPLETE, repair_of=2)
    run(study, space, "peers", repair_of=3)
    assert ended(study, "finished", 5, 12.0, 1.0, "next").repairs == (1, 4), "one rule's severity is no measure of another's"
