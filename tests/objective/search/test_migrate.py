"""A study whose space changed: what is a point of the new space is copied once and as it was, and nothing else is."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial, FrozenTrial, TrialState

import objective.search.migrate
from model.config import Config, Network, Training
from objective.search.migrate import StudyRefused, differences, flat, migrate
from objective.search.open_study import open_study
from objective.settings.schema import Settings
from search_spaces.knobs import values
from search_spaces.space import Space
from storage.leases import owner
from storage.studies import open_storage

ROOT = Path(__file__).parents[3]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OLD: dict[str, Any] = {
    "fixed": {"training.schedule": "cosine"},
    "parameters": {
        "training.learning_rate": {"float": [1e-4, 2e-3], "log": True},
        "training.batch_size": {"categorical": [16, 32]},
        "network.reduction": {"int": [1, 3]},
        "network.prenet_dropout": {"float": [0.1, 0.7], "step": 0.2},
        "loss.guided_weight": {"float": [0.05, 5.0], "log": True, "or": 0},
        "loss.guided_sigma": {"float": [0.2, 0.5], "when": {"loss.guided_weight": {"above": 0}}},
    },
}


def changed(fixed: Mapping[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    """OLD with other parameters, by the last part of their names; None is one that is no longer searched."""
    names = {known.rpartition(".")[2]: known for known in OLD["parameters"]}
    names |= {"clip_norm": "training.clip_norm", "weight_decay": "training.weight_decay"}
    table = dict(OLD["parameters"]) | {names[name]: options for name, options in parameters.items()}
    kept = {name: options for name, options in table.items() if options is not None}
    return {"fixed": dict(OLD["fixed"] if fixed is None else fixed), "parameters": kept}


CHANGES = {
    "none": OLD,
    "wider": changed(learning_rate={"float": [1e-5, 1e-2], "log": True}, reduction={"int": [1, 5]}),
    "narrower": changed(learning_rate={"float": [3e-4, 1e-3], "log": True}),
    "another scale": changed(learning_rate={"float": [1e-4, 2e-3]}),
    "a choice less": changed(batch_size={"categorical": [8, 16]}),
    "fixed now": changed({"training.schedule": "cosine", "training.batch_size": 16}, batch_size=None),
    "no longer searched": changed(batch_size=None),
    "steps between the steps": changed(prenet_dropout={"float": [0.0, 0.8], "step": 0.1}),
    "other steps": changed(prenet_dropout={"float": [0.1, 0.8], "step": 0.35}),
    "never off": changed(guided_weight={"float": [0.05, 5.0], "log": True}),
    "always on a condition": changed(guided_sigma={"float": [0.2, 0.5], "when": {"network.reduction": [1, 2]}}),
    "one more, whose default it holds": changed(clip_norm={"float": [0.5, 2.0]}),
    "one more, without its default": changed(weight_decay={"float": [1e-5, 1e-3], "log": True}),
    "another schedule": changed({}),
}
NONE_VALID, ALL_VALID = {"one more, without its default", "another schedule"}, {"none", "wider", "another scale"}
ALL_VALID |= {"steps between the steps", "one more, whose default it holds"}


def space_of(table: Mapping[str, Any], base: Config | None = None) -> Space:
    return Space.from_dict(table, base)


def identity_of(space: Space, **more: Any) -> dict[str, Any]:
    return {"space": space.fingerprint(), "score": "loss", "seed": 0, **flat(space.base), **more}


def settings_of(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    return values(space.base) | space.suggest(FixedTrial(trial.params))


def inside(table: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether `settings` are a point of the space, read off its table: what the migration must agree with."""
    base = values(Config())
    for knob, value in settings.items():
        if knob in table["fixed"]:
            right = value == table["fixed"][knob]
        elif knob in table["parameters"] and holds(table["parameters"][knob].get("when", {}), settings):
            right = within(table["parameters"][knob], value)
        else:
            right = value == base[knob]
        if not right:
            return False
    return True


def same(one: Any, other: Any) -> bool:
    return bool(one == other if isinstance(one, str) else math.isclose(one, other, rel_tol=1e-12))


def holds(when: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(
        settings[other] > wanted["above"] if isinstance(wanted, dict) else settings[other] in wanted
        for other, wanted in when.items()
    )


def within(options: Mapping[str, Any], value: Any) -> bool:
    if "categorical" in options or value == options.get("or"):
        return "categorical" not in options or value in options["categorical"]
    low, high = options.get("float") or options["int"]
    steps = (value - low) / options["step"] if "step" in options else 0.0
    return bool(low - 1e-9 <= value <= high + 1e-9 and math.isclose(steps, round(steps), abs_tol=1e-9))


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, quiet: None) -> Path:
    """A study `old` of forty points, each of which ended in one of the ways that there are, and one that still runs."""
    file = tmp_path_factory.mktemp("filled") / "tacotune.db"
    fill(open_storage(f"sqlite:///{file}"), "old", 40)
    return file


@pytest.fixture
def storage(filled: Path, tmp_path: Path) -> optuna.storages.BaseStorage:
    """That study, in a database of its own."""
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(tmp_path / "tacotune.db")) as target:
        source.backup(target)
    return open_storage(f"sqlite:///{tmp_path}/tacotune.db")


def fill(storage: optuna.storages.BaseStorage, name: str, count: int) -> optuna.Study:
    study = optuna.create_study(storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=1))
    space = space_of(OLD)
    for number in range(count):
        trial = study.ask()
        space.suggest(trial)
        known = {"k": number, "owner": owner(), "beat": 3, "seconds": 1.5, "health": {"kframes": [1.0]}, "diagonality": 0.5}
        for key, value in known.items():
            trial.set_user_attr(key, value)
        trial.report(1.0 + number, 1)
        trial.report(0.5 + number, 2)
        trial.set_constraint("health/diagonality", 0.1 * (number % 3) - 0.1)
        if number % 4 == 3:
            trial.set_user_attr("pruned_by", "progress")
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 10 == 0:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 0.5 + number)
    space.suggest(study.ask())
    study.set_user_attr("identity", identity_of(space))
    return study


def load(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    return optuna.load_study(storage=storage, study_name=name)


@pytest.mark.parametrize("case", CHANGES)
def test_nothing_valid_is_lost_and_nothing_invalid_copied(case: str, storage: optuna.storages.BaseStorage) -> None:
    table, before = CHANGES[case], space_of(OLD)
    space, old = space_of(table), load(storage, "old")
    as_it_was = [repr(trial) for trial in old.trials], old.user_attrs
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    assert ([repr(trial) for trial in old.trials], old.user_attrs) == as_it_was
    finished = {trial.number: trial for trial in old.trials if trial.state in FINISHED}
    valid = {number for number, trial in finished.items() if inside(table, settings_of(before, trial))}
    assert bool(valid) == (case not in NONE_VALID)
    assert (valid == set(finished)) == (case in ALL_VALID)
    assert set(done.copied) == valid
    assert done.left.keys() == {trial.number for trial in old.trials} - valid
    assert [trial.user_attrs["migrated_from"] for trial in new.trials] == [f"old trial {number}" for number in sorted(valid)]
    for number, place in done.copied.items():
        was, now = settings_of(before, finished[number]), settings_of(space, new.trials[place])
        assert was.keys() == now.keys()
        assert all(same(was[knob], now[knob]) for knob in was)


@pytest.mark.parametrize("case", ["wider", "never off", "steps between the steps"])
def test_a_copy_is_what_the_new_space_would_have_asked_for(case: str, storage: optuna.storages.BaseStorage) -> None:
    """Its distributions are those of a trial of the new study with the same point, so that samplers take the two as one."""
    space = space_of(CHANGES[case])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    copies = new.trials
    new.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    for copy in copies[:3]:
        new.enqueue_trial(copy.params)
    for copy in copies[:3]:
        asked = new.ask()
        space.suggest(asked)
        assert asked.distributions == copy.distributions
        assert asked.params == copy.params
    assert len(done.copied) > 10
    space.suggest(new.ask())  # sampled: the copies are history to learn from


def test_a_copy_keeps_what_stays_true(storage: optuna.storages.BaseStorage) -> None:
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


def test_repairs_follow_their_parents(tmp_path: Path) -> None:
    """Numbers of trials are those of the new study, or name the old one; so do the sentences in which they stand."""
    storage, space = open_storage(f"sqlite:///{tmp_path}/x.db"), space_of(OLD)
    old = optuna.create_study(storage=storage, study_name="old")
    origins = {0: "recipe nvidia", 1: "sampled", 2: "repair of trial 1", 3: "repair of trial 2", 4: "again after trial 3"}
    for number, rate in enumerate((1.5e-3, 5e-4, 4e-4, 1.8e-3, 3e-4, 2e-4)):
        params, _ = space.to_trial_params({"training.learning_rate": rate, "training.schedule": "cosine"})
        repair = {2: 1, 3: 2, 5: 3}.get(number)
        known = {"k": 1, "origin": origins.get(number, "sampled")}
        if repair is not None:
            known |= {"repair_of": repair, "repair_depth": 1, "repair_why": "grad_norm 9 > 3", "changes": ["x 1 -> 2"]}
        old.enqueue_trial(params, user_attrs=known | ({"again_of": 3, "released": "died"} if number == 4 else {}))
        trial = old.ask()
        space.suggest(trial)
        old.tell(trial, float(number))
    old.set_user_attr("identity", identity_of(space))
    narrower = space_of(CHANGES["narrower"])
    new, done = migrate(storage, "old", "new", narrower, identity_of(narrower))
    assert done.copied == {1: 0, 2: 1, 4: 2}
    sampled, repair, again = (trial.user_attrs for trial in new.trials)
    assert (repair["repair_of"], repair["repair_depth"], repair["changes"]) == (0, 1, ["x 1 -> 2"])
    assert repair["origin"] == "repair of trial 0"
    assert again["origin"] == "again after trial 3 of old"
    assert not {"again_of", "released", "repair_of"} & again.keys()
    assert "repair_of" not in sampled
    wider = space_of(changed(learning_rate={"float": [1.9e-4, 4.5e-4]}))
    third, _ = migrate(storage, "old", "third", wider, identity_of(wider))
    orphans = [trial.user_attrs for trial in third.trials if "repair_depth" in trial.user_attrs]
    assert [orphan["repair_depth"] for orphan in orphans] == [1, 1]
    assert not any("repair_of" in orphan for orphan in orphans), "their parents stayed"


def test_what_stays_is_told_with_its_reason(storage: optuna.storages.BaseStorage) -> None:
    space = space_of(changed(batch_size=None, reduction={"int": [1, 2]}))
    _, done = migrate(storage, "old", "new", space, identity_of(space))
    old = load(storage, "old").trials
    finished = [trial for trial in old if trial.state in FINISHED]
    both = next(it for it in finished if it.params["training.batch_size"] == 16 and it.params["network.reduction"] == 3)
    assert done.left[both.number] == (
        "network.reduction 3 -> 2 (highest in the space); training.batch_size 16 -> 32 (not searched here)"
    )
    shifted = space_of(changed(prenet_dropout={"float": [0.0, 0.8], "step": 0.1}, learning_rate={"float": [3e-4, 1e-3]}))
    _, shifting = migrate(storage, "old", "shifted", shifted, identity_of(shifted))
    assert any("learning_rate" in why for why in shifting.left.values())
    assert not any("prenet" in why for why in shifting.left.values()), "a last bit is no reason"
    assert done.left[0] == "FAIL is no result"
    assert done.left[40] == "RUNNING is no result"
    first, *reasons = done.told()
    assert first == f"{len(done.copied)} trials of old are copied, {len(done.left)} are not"
    assert reasons == sorted(reasons)
    assert reasons[0] == "not copied, FAIL is no result: trial 0, 10, 20, 30"


KILLED = """
import os, signal, sys
import optuna
from tests.objective.search.test_migrate import CHANGES, identity_of, space_of
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
    """The migration in a process of its own, which is killed when it has copied so many."""
    line = [sys.executable, "-c", KILLED, url, str(copies)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_killed_in_the_middle_it_goes_on_and_copies_none_twice(tmp_path: Path, storage: optuna.storages.BaseStorage) -> None:
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
    assert done.told()[0] == f"{len(finished) - 7} trials of old are copied, 7 had been before, 5 are not"


def enumerate_from(first: int, numbers: list[int]) -> Iterator[tuple[int, int]]:
    return ((number, place) for place, number in enumerate(numbers) if place >= first)


@pytest.mark.slow
def test_several_at_once_copy_each_trial_once(tmp_path: Path, storage: optuna.storages.BaseStorage) -> None:
    """Machines that type the same command at the same moment, on a study that a dead process left half copied."""
    url = f"sqlite:///{tmp_path}/tacotune.db"
    with migrating(url, 3) as process:
        process.wait(timeout=60)
    together = [migrating(url, 1_000) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in together]
    finished = [trial.number for trial in load(storage, "old").trials if trial.state in FINISHED]
    assert sorted(said) == sorted([[str(len(finished) - 3), "3"], *[["0", str(len(finished))]] * 2])
    marks = [trial.user_attrs["migrated_from"] for trial in load(storage, "new").trials]
    assert marks == [f"old trial {number}" for number in finished]


@pytest.mark.parametrize("dies", [True, False])
def test_whoever_was_overtaken_copies_no_more(
    dies: bool, storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes over after three copies and makes two. Only if it dies then, the first one goes on after those."""
    monkeypatch.setattr(objective.search.migrate, "PATIENCE_S", 0.3)
    add, calls = optuna.Study.add_trial, []
    finished = [trial for trial in load(storage, "old").trials if trial.state in FINISHED]

    def add_trial(study: optuna.Study, trial: FrozenTrial) -> None:
        calls.append(trial)
        add(study, trial)
        if len(calls) == 3:
            other_one = {**owner(), "started": "long ago", **({} if dies else {"host": "elsewhere"})}
            study.set_user_attr("migration", study.user_attrs["migration"] | {"owner": other_one})
            for other in finished[3:5]:
                known = {"migrated_from": f"old trial {other.number}"}
                values = {"params": other.params, "distributions": other.distributions, "value": other.value}
                add(study, optuna.trial.create_trial(state=other.state, user_attrs=known, **values))

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


def test_a_study_that_is_ready_is_left_as_it_is(storage: optuna.storages.BaseStorage) -> None:
    """Its own trials have taken the ordinals that follow. What ended in the old study since then is told."""
    space, old = space_of(CHANGES["wider"]), load(storage, "old")
    new, _ = migrate(storage, "old", "new", space, identity_of(space))
    new.set_user_attr("identity", identity_of(space))
    count = len(new.trials)
    old.tell(40, 1.0)
    again, done = migrate(storage, "old", "new", space, identity_of(space))
    assert len(again.trials) == count
    assert (done.before, done.copied) == (count, {})
    assert done.left[40] == "new was ready before it ended"


def test_one_that_another_process_makes_is_waited_for(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective.search.migrate, "PATIENCE_S", 0.3)
    space = space_of(CHANGES["wider"])
    new = optuna.create_study(storage=storage, study_name="new")
    other = {**owner(), "host": "elsewhere", "pid": 7}
    new.set_user_attr("migration", {"from": "old", "identity": identity_of(space), "owner": other})
    with pytest.raises(StudyRefused, match=r"study new is being made by process 7 of elsewhere, .*: wait for it, or"):
        migrate(storage, "old", "new", space, identity_of(space))
    assert new.trials == []


def test_one_that_was_just_begun_is_taken_over_when_nobody_says_what_it_is_for(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective.search.migrate, "MADE_S", 0.3)
    optuna.create_study(storage=storage, study_name="new")
    space = space_of(CHANGES["wider"])
    new, done = migrate(storage, "old", "new", space, identity_of(space))
    assert len(new.trials) == len(done.copied) > 10


def made_otherwise(storage: optuna.storages.BaseStorage, space: Space) -> None:
    new = optuna.create_study(storage=storage, study_name="new")
    new.set_user_attr("identity", identity_of(space))


def begun_by_a_person(storage: optuna.storages.BaseStorage, space: Space) -> None:
    optuna.create_study(storage=storage, study_name="new").enqueue_trial({})


def made_from_another(storage: optuna.storages.BaseStorage, space: Space) -> None:
    fill(storage, "older", 3)
    migrate(storage, "older", "new", space, identity_of(space))


def begun_with_another_space(storage: optuna.storages.BaseStorage, space: Space) -> None:
    other = space_of(CHANGES["narrower"])
    migrate(storage, "old", "new", other, identity_of(other))


def without_identity(storage: optuna.storages.BaseStorage, space: Space) -> None:
    optuna.delete_study(study_name="old", storage=storage)
    optuna.create_study(study_name="old", storage=storage)


def of_another_version(storage: optuna.storages.BaseStorage, space: Space) -> None:
    known = load(storage, "old").user_attrs["identity"]
    known["space"]["parameters"]["training.momentum"] = {"float": [0.5, 0.9]}
    load(storage, "old").set_user_attr("identity", known)


REFUSED: dict[str, tuple[Any, str, str]] = {
    "itself": (None, "old", "need another name for the study to migrate to, got old for both"),
    "made otherwise": (made_otherwise, "new", "study new exists and was not made from old"),
    "begun by a person": (begun_by_a_person, "new", "study new exists and was not made from old"),
    "made from another": (made_from_another, "new", "study new was made from older, not from old"),
    "begun with another space": (begun_with_another_space, "new", "learning_rate was searched as"),
    "no identity": (without_identity, "new", "study old was made by another program"),
    "another version": (of_another_version, "new", "the old space cannot be read by this version (training.momentum"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_migrated_is_refused_with_a_sentence(case: str, storage: optuna.storages.BaseStorage) -> None:
    prepare, name, words = REFUSED[case]
    space = space_of(CHANGES["wider"])
    if prepare is not None:
        prepare(storage, space)
    before = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)}
    with pytest.raises(StudyRefused) as caught:
        migrate(storage, "old", name, space, identity_of(space))
    assert words in str(caught.value)
    assert {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)} == before


def test_a_study_that_is_not_there_is_refused_with_those_that_are(storage: optuna.storages.BaseStorage) -> None:
    space = space_of(OLD)
    with pytest.raises(StudyRefused, match="got --study oldd: say one of old"):
        migrate(storage, "oldd", "new", space, identity_of(space))


def test_more_than_the_space_must_not_differ(storage: optuna.storages.BaseStorage) -> None:
    """The same sentences as of a study that is opened; a knob that the old study did not know had its default."""
    base = Config(training=Training(batch_size=16))
    space = space_of(CHANGES["wider"], base)
    with pytest.raises(StudyRefused, match=r"training\.batch_size was 32, it is now 16") as caught:
        migrate(storage, "old", "new", space, identity_of(space, seed=1))
    assert "seed was 0, it is now 1" in str(caught.value)
    assert optuna.get_all_study_names(storage) == ["old"]
    known = load(storage, "old").user_attrs["identity"]
    del known["training.clip_norm"]
    plain = space_of(CHANGES["wider"])
    assert differences(known, identity_of(plain), plain)[1] == []
    louder = replace(plain, base=Config(training=Training(clip_norm=2.0)))
    assert differences(known, identity_of(louder), louder)[1] == ["training.clip_norm was 1.0, it is now 2.0"]
    quicker = replace(plain, base=Config(network=Network(recurrence="deferred")))
    assert differences(known, identity_of(quicker), quicker)[1] == []
    assert differences(known, identity_of(plain), plain)[0] == plain.diff(space_of(OLD).fingerprint()) != []


def test_a_half_copied_study_is_not_opened_as_one_of_its_own(storage: optuna.storages.BaseStorage) -> None:
    """Its migration was killed; typed without --migrate, the command must not call it ready."""
    half = optuna.create_study(storage=storage, study_name="half")
    claim = {"from": "old", "identity": {}, "owner": {**owner(), "pid": 1}}
    half.set_user_attr("migration", claim)
    space = space_of(CHANGES["wider"])
    settings = Settings.model_validate({"study": {"name": "half", "recipes": []}})
    with pytest.raises(StudyRefused, match="type --study old --migrate half"):
        open_study(settings, space, identity_of(space), storage)
    half.set_user_attr("migration", claim | {"owner": owner()})
    assert open_study(settings, space, identity_of(space), storage)[0].user_attrs["identity"] == identity_of(space)
