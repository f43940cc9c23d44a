"""A study is migrated to another space: the trials that fit it are copied, and keep what stays valid."""

from pathlib import Path

import optuna
import pytest

from objective.search.migrate import migrate
from storage.studies import open_storage
from tests.objective.search.migration import (
    ALL_VALID,
    CHANGES,
    FINISHED,
    NONE_VALID,
    OLD,
    changed,
    identity_of,
    inside,
    load,
    same,
    settings_of,
    space_of,
)

pytestmark = pytest.mark.usefixtures("quiet_optuna")


@pytest.mark.parametrize("case", CHANGES)
def test_exactly_the_trials_that_fit_the_new_space_are_copied(case: str, storage: optuna.storages.BaseStorage) -> None:
    table, old_space = CHANGES[case], space_of(OLD)
    space, old = space_of(table), load(storage, "old")
    unchanged = [repr(trial) for trial in old.trials], old.user_attrs
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    assert ([repr(trial) for trial in old.trials], old.user_attrs) == unchanged
    finished = {trial.number: trial for trial in old.trials if trial.state in FINISHED}
    valid = {number for number, trial in finished.items() if inside(table, settings_of(old_space, trial))}
    assert bool(valid) == (case not in NONE_VALID)
    assert (valid == set(finished)) == (case in ALL_VALID)
    assert set(done.copied) == valid
    assert done.left.keys() == {trial.number for trial in old.trials} - valid
    assert [trial.user_attrs["migrated_from"] for trial in new.trials] == [f"old trial {number}" for number in sorted(valid)]
    for number, place in done.copied.items():
        was, now = settings_of(old_space, finished[number]), settings_of(space, new.trials[place])
        assert was.keys() == now.keys()
        assert all(same(was[knob], now[knob]) for knob in was)


@pytest.mark.parametrize("case", ["wider", "never off", "finer steps"])
def test_a_copy_has_the_distributions_of_the_new_space(case: str, storage: optuna.storages.BaseStorage) -> None:
    """They equal those of a trial of the new study with the same parameters, so that samplers treat both alike."""
    space = space_of(CHANGES[case])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    copies = new.trials
    new.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    for copy in copies[:3]:
        new.enqueue_trial(copy.params)
    for copy in copies[:3]:
        trial = new.ask()
        space.suggest(trial)
        assert trial.distributions == copy.distributions
        assert trial.params == copy.params
    assert len(done.copied) > 10
    space.suggest(new.ask())  # sampled: the sampler learns from the copies


def test_a_copy_keeps_everything_but_owner_and_heartbeat(storage: optuna.storages.BaseStorage) -> None:
    space = space_of(CHANGES["wider"])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    old = load(storage, "old").trials
    for number, place in done.copied.items():
        was, now = old[number], new.trials[place]
        for name in ("state", "value", "intermediate_values", "constraints", "datetime_start", "datetime_complete"):
            assert getattr(now, name) == getattr(was, name), name
        kept = {key: value for key, value in was.user_attrs.items() if key not in ("owner", "beat")}
        assert now.user_attrs == {**kept, "migrated_from": f"old trial {number}"}
    assert {trial.state for trial in new.trials} == set(FINISHED)


def test_repairs_name_their_parents_in_the_new_study(tmp_path: Path) -> None:
    """Trial numbers, also in sentences, are those of the new study, or name the old study."""
    storage, space = open_storage(f"sqlite:///{tmp_path}/x.db"), space_of(OLD)
    old = optuna.create_study(storage=storage, study_name="old")
    origins = {0: "recipe nvidia", 1: "sampled", 2: "repair of trial 1", 3: "repair of trial 2", 4: "again after trial 3"}
    for number, rate in enumerate((1.5e-3, 5e-4, 4e-4, 1.8e-3, 3e-4, 2e-4)):
        params, _ = space.to_trial_params({"training.learning_rate": rate, "training.schedule": "cosine"})
        repair = {2: 1, 3: 2, 5: 3}.get(number)
        attributes = {"k": 1, "origin": origins.get(number, "sampled")}
        if repair is not None:
            attributes |= {"repair_of": repair, "repair_depth": 1, "repair_why": "grad_norm 9 > 3", "changes": ["x 1 -> 2"]}
        old.enqueue_trial(params, user_attrs=attributes | ({"again_of": 3, "released": "died"} if number == 4 else {}))
        trial = old.ask()
        space.suggest(trial)
        old.tell(trial, float(number))
    old.set_user_attr("identity", identity_of(space))
    narrower = space_of(CHANGES["narrower"])
    new, done = migrate(storage, "old", "new", narrower, identity_of(narrower))
    assert done.copied == {1: 0, 2: 1, 4: 2}
    sampled, repair, retry = (trial.user_attrs for trial in new.trials)
    assert (repair["repair_of"], repair["repair_depth"], repair["changes"]) == (0, 1, ["x 1 -> 2"])
    assert repair["origin"] == "repair of trial 0"
    assert retry["origin"] == "again after trial 3 of old"
    assert not {"again_of", "released", "repair_of"} & retry.keys()
    assert "repair_of" not in sampled
    wider = space_of(changed(learning_rate={"float": [1.9e-4, 4.5e-4]}))
    third, _ = migrate(storage, "old", "third", wider, identity_of(wider))
    orphans = [trial.user_attrs for trial in third.trials if "repair_depth" in trial.user_attrs]
    assert [orphan["repair_depth"] for orphan in orphans] == [1, 1]
    assert not any("repair_of" in orphan for orphan in orphans), "their parents were not copied"


def test_each_trial_that_is_not_copied_has_its_reason(storage: optuna.storages.BaseStorage) -> None:
    space = space_of(changed(batch_size=None, reduction={"int": [1, 2]}))
    _, done = migrate(storage, "old", "new", space, identity_of(space))
    old = load(storage, "old").trials
    finished = [trial for trial in old if trial.state in FINISHED]
    both = next(it for it in finished if it.params["training.batch_size"] == 16 and it.params["network.reduction"] == 3)
    assert done.left[both.number] == (
        "network.reduction 3 -> 2 (highest in the space); training.batch_size 16 -> 64 (not searched here)"
    )
    shifted = space_of(changed(prenet_dropout={"float": [0.0, 0.8], "step": 0.1}, learning_rate={"float": [3e-4, 1e-3]}))
    _, shifting = migrate(storage, "old", "shifted", shifted, identity_of(shifted))
    assert any("learning_rate" in why for why in shifting.left.values())
    assert not any("prenet" in why for why in shifting.left.values()), "a difference in the last bit is no reason"
    assert done.left[0] == "FAIL is no result"
    assert done.left[40] == "RUNNING is no result"
    first, *reasons = done.summary()
    assert first == f"{len(done.copied)} trials of old copied, {len(done.left)} not"
    assert reasons == sorted(reasons)
    assert reasons[0] == "not copied, FAIL is no result: trial 0, 10, 20, 30"
