"""Repairs: what each diagnosis changes, how far they go, and a study in which they run, for real."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial, TrialState

from objective.display.summary import ended
from objective.search.enqueue import fill
from objective.search.repair import REMEDIES, neighbour, owed
from pruners.combinators import rules
from pruners.thresholds import Levels
from search_spaces.parameters import Choice
from search_spaces.space import SHIPPED, Space, load
from storage.lineage import doubled, point
from storage.outcome import finished, is_finished
from tests.objective.small_study import SMALL, command, held, study

RATE, CLIP, WARMUP, DECAY = (f"training.{name}" for name in ("learning_rate", "clip_norm", "warmup_share", "weight_decay"))
GUIDED, GATE, R = "loss.guided_weight", "loss.gate_positive_weight", "network.reduction"
PRENET, ATTENTION, DECODER = (f"network.{name}_dropout" for name in ("prenet", "attention", "decoder"))
NAMES = {
    **{rule: {RATE, CLIP} for rule in ("grad_norm", "nonfinite", "progress", "relapse")},
    **{rule: {GUIDED, R, PRENET} for rule in ("no_alignment", "diagonality", "alignment_score", "coverage")},
    **{rule: {GATE} for rule in ("gate_accuracy", "free_failures", "free_premature")},
    "overfit_gap": {PRENET, ATTENTION, DECODER, DECAY},
    **{rule: {RATE, WARMUP} for rule in ("stagnation", "grad_norm_median")},
}
SPACES = {name: load(name) for name in SHIPPED}


def inside(space: Space, settings: dict[str, Any]) -> bool:
    for parameter in space.parameters:
        if parameter.key in settings:
            value = settings[parameter.key]
            choices = parameter.choices if isinstance(parameter, Choice) else (parameter.off,)
            if value not in choices and (isinstance(parameter, Choice) or not parameter.low <= value <= parameter.high):
                return False
    return True


@given(st.sampled_from(SHIPPED), st.sampled_from(sorted(NAMES)), st.integers(0, 2**32))
def test_a_repair_lies_inside_the_space_and_changes_what_its_diagnosis_names(name: str, rule: str, seed: int) -> None:
    space = SPACES[name]
    old = space.sample(random.Random(seed))
    repair = neighbour(rule, old, space)
    if repair is None:
        return
    new = space.suggest(FixedTrial(repair.params))  # Optuna warns of a value out of range, and a warning is an error
    assert inside(space, new)
    switched_on = {"loss.guided_sigma"} if old.get(GUIDED) == 0 else set()
    changed = {knob for knob in new if new[knob] != old.get(knob)}
    assert changed - switched_on <= NAMES[rule]
    assert changed
    if NAMES[rule] == {GUIDED, R, PRENET}:
        assert len(changed - switched_on) == 1, "one change at a time"
    assert {change.split()[0] for change in repair.changes} == changed - switched_on


MIDDLE = {
    **{RATE: 8e-4, CLIP: 0.5, WARMUP: 0.02, DECAY: 1e-6, GUIDED: 1.0, GATE: 4.0},
    **{R: 1, PRENET: 0.3, ATTENTION: 0.1, DECODER: 0.1},
}
UNGUIDED = {GUIDED: 5.0, R: 3}
CURES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("grad_norm", {}, [f"{RATE} 0.0008 -> 0.0004"]),
    ("nonfinite", {CLIP: 5.0}, [f"{RATE} 0.0008 -> 0.0004", f"{CLIP} 5 -> 1"]),
    ("progress", {RATE: 1.5e-4}, [f"{RATE} 0.00015 -> 0.0001"]),
    ("relapse", {RATE: 1e-4, CLIP: 2.0}, [f"{CLIP} 2 -> 1"]),
    ("grad_norm", {RATE: 1e-4, CLIP: 1.0}, []),
    ("diagonality", {}, [f"{GUIDED} 1 -> 2"]),
    ("alignment_score", {GUIDED: 4.0}, [f"{GUIDED} 4 -> 5"]),
    ("coverage", {GUIDED: 0}, [f"{GUIDED} 0 -> 1"]),
    ("diagonality", {GUIDED: 5.0}, [f"{R} 1 -> 2"]),
    ("diagonality", {GUIDED: 4.9}, [f"{R} 1 -> 2"]),
    ("diagonality", UNGUIDED, [f"{PRENET} 0.3 -> 0.4"]),
    ("diagonality", UNGUIDED | {PRENET: 0.45}, [f"{PRENET} 0.45 -> 0.5"]),
    ("diagonality", UNGUIDED | {PRENET: 0.5}, []),
    ("gate_accuracy", {}, [f"{GATE} 4 -> 8"]),
    ("free_failures", {GATE: 15.0}, [f"{GATE} 15 -> 20"]),
    ("free_premature", {GATE: 15.0}, [f"{GATE} 15 -> 7.5"]),
    ("gate_accuracy", {GATE: 20.0}, []),
    (
        "overfit_gap",
        {PRENET: 0.5, DECODER: 0.15},
        [f"{ATTENTION} 0.1 -> 0.2", f"{DECODER} 0.15 -> 0.2", f"{DECAY} 1e-06 -> 1e-05"],
    ),
    ("stagnation", {}, [f"{RATE} 0.0008 -> 0.0016"]),
    ("grad_norm_median", {RATE: 2e-3}, [f"{WARMUP} 0.02 -> 0.04"]),
    ("stagnation", {RATE: 2e-3, WARMUP: 0.1}, []),
    ("peers", {}, []),
    ("out_of_memory", {}, []),
]


@pytest.mark.parametrize(("rule", "where", "changes"), CURES)
def test_each_diagnosis_has_its_cure(rule: str, where: dict[str, Any], changes: list[str]) -> None:
    space = SPACES["default"]
    settings = space.suggest(FixedTrial(space.to_trial_params(MIDDLE | where)[0]))
    repair = neighbour(rule, settings, space)
    assert (list(repair.changes) if repair else []) == changes


def test_every_shipped_rule_has_a_cure() -> None:
    curable = {rule for rule, remedy in REMEDIES.items() if remedy.moves is not None}
    assert {rule.name for rule in rules(Levels())} <= curable == NAMES.keys()


def test_what_a_space_does_not_search_is_left_alone() -> None:
    assert neighbour("gate_accuracy", SPACES["seed"].sample(random.Random(0)), SPACES["seed"]) is None
    wide = SPACES["record"]
    dropped = wide.sample(random.Random(0)) | {GUIDED: 20.0, R: 4, PRENET: 0.7}
    assert neighbour("diagonality", dropped, wide) is None, "no dropout is raised above the published 0.5, nor lowered to it"


def tried(study: optuna.Study, space: Space, rule: str | None, state: TrialState = TrialState.PRUNED, **known: Any) -> None:
    """One trial from ask to tell."""
    trial = study.ask()
    space.suggest(trial)
    for name, value in ({"k": trial.number} | trial.user_attrs | known).items():
        trial.set_user_attr(name, value)
    if rule and state == TrialState.COMPLETE:
        trial.set_constraint(f"health/{rule}", 0.2)
    elif rule:
        trial.set_user_attr("pruned_by", rule)
    study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)


def enqueued(study: optuna.Study, space: Space, deepest: int) -> int | None:
    """The parent's number of the repair that the worker enqueues now."""
    before = len(study.trials)
    fill(study, study.get_trials(deepcopy=False), space, (), deepest)
    added = study.trials[before:]
    return int(added[0].user_attrs["repair_of"]) if added else None


def empty() -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))


@pytest.mark.parametrize("deepest", [0, 1, 3])
def test_a_chain_of_repairs_is_no_deeper_than_allowed(deepest: int) -> None:
    ill, space = empty(), SPACES["demo"]
    ill.enqueue_trial(space.to_trial_params({GUIDED: 0.1})[0])
    tried(ill, space, "diagonality")
    chain = []
    while (parent := enqueued(ill, space, deepest)) is not None:
        chain.append(parent)
        tried(ill, space, "diagonality")
    assert chain == list(range(deepest))
    assert [trial.params[GUIDED] for trial in ill.trials] == [0.1 * 2**n for n in range(deepest + 1)]


def test_first_every_point_is_repaired_once_then_the_repairs() -> None:
    """In the order of k, which a point that comes again keeps, and not of the numbers, which an interruption changes."""
    ill, space = empty(), SPACES["demo"]
    for number in range(3):
        ill.enqueue_trial(space.to_trial_params({GUIDED: 0.05 + number / 100})[0])
    for k in (2, 0, 1):
        tried(ill, space, "diagonality", k=k)
    order = []
    while (parent := enqueued(ill, space, 2)) is not None:
        order.append(parent)
        tried(ill, space, "diagonality")
    assert order == [1, 2, 0, 3, 4, 5]
    assert len({str(sorted(point(trial).items())) for trial in ill.trials}) == 9


def test_no_point_is_tried_twice_whatever_became_of_it() -> None:
    """A stagnant point and an exploding one at twice its rate would repair each other for ever."""
    ill, space = empty(), SPACES["demo"]
    for rate in (1e-3, 2e-3):
        ill.enqueue_trial(space.to_trial_params({RATE: rate})[0])
    tried(ill, space, "stagnation")
    tried(ill, space, "grad_norm")
    assert enqueued(ill, space, 2) is None


def test_a_repair_comes_after_every_point_that_waits() -> None:
    ill, space = empty(), SPACES["demo"]
    for weight in (0.1, 0.3):
        ill.enqueue_trial(space.to_trial_params({GUIDED: weight})[0])
    tried(ill, space, "diagonality")
    assert enqueued(ill, space, 2) is None, "a recipe waits"
    tried(ill, space, None, TrialState.COMPLETE)
    assert enqueued(ill, space, 2) == 0
    assert enqueued(ill, space, 2) is None, "it waits itself"


def test_of_two_workers_with_one_repair_the_first_tries_it() -> None:
    """Both saw that it was due before either had enqueued it."""
    ill, space = empty(), SPACES["demo"]
    ill.enqueue_trial(space.to_trial_params({GUIDED: 0.1})[0])
    tried(ill, space, "diagonality")
    assert enqueued(ill, space, 2) == 0
    ill.enqueue_trial(point(ill.trials[1]), user_attrs=ill.trials[1].user_attrs)
    first, second, sampled = ill.ask(), ill.ask(), ill.ask()
    assert [doubled(ill.get_trials(deepcopy=False), trial) for trial in (first, second, sampled)] == [False, True, False]


def test_the_healthy_the_failed_and_the_slow_have_no_repair() -> None:
    well, space = empty(), SPACES["demo"]
    tried(well, space, None, TrialState.COMPLETE)
    tried(well, space, "diagonality", TrialState.FAIL)
    tried(well, space, "peers")
    assert enqueued(well, space, 2) is None
    tried(well, space, "gate_accuracy", TrialState.COMPLETE)
    assert enqueued(well, space, 2) == 3


def test_of_several_missed_targets_the_cause_is_repaired_before_its_effects() -> None:
    ill, space = empty(), SPACES["demo"]
    ill.enqueue_trial(space.to_trial_params({})[0])
    trial = ill.ask()
    space.suggest(trial)
    trial.set_user_attr("k", 0)
    for target in ("free_failures", "gate_accuracy", "alignment_score"):
        trial.set_constraint(f"health/{target}", 0.3)
    trial.set_constraint("health/diagonality", -0.1)
    ill.tell(trial, 1.0)
    due = owed(ill.trials, space, 1)
    assert due is not None
    assert due[1].changes == (f"{GUIDED} 1 -> 2",)
    assert enqueued(ill, space, 1) == 0
    tried(ill, space, None, TrialState.COMPLETE)
    assert enqueued(ill, space, 1) is None, "one repair for each, though its gate is still sick"


@pytest.mark.parametrize(("early", "never", "becomes"), [(0.6, 0.2, 2.0), (0.2, 0.6, 8.0)])
def test_a_voice_that_stops_too_early_is_not_told_to_stop_still_more(early: float, never: float, becomes: float) -> None:
    ill, space = empty(), SPACES["demo"]
    ill.enqueue_trial(space.to_trial_params({GATE: 4.0})[0])
    trial = ill.ask()
    space.suggest(trial)
    for name, amount in (("k", 0), ("free_premature_rate", early), ("free_overrun_rate", never)):
        trial.set_user_attr(name, amount)
    trial.set_constraint("health/free_failures", 0.5)
    ill.tell(trial, 1.0)
    due = owed(ill.trials, space, 1)
    assert due is not None
    assert due[1].changes == (f"{GATE} 4 -> {becomes:g}",)


def test_the_closing_page_counts_repairs_that_rank_before_their_parents() -> None:
    ill, space = empty(), SPACES["demo"]
    tried(ill, space, "diagonality", pruned_severity=0.5)
    tried(ill, space, "diagonality", pruned_severity=0.4, repair_of=0)
    tried(ill, space, "diagonality", pruned_severity=0.4, repair_of=1)
    tried(ill, space, None, TrialState.COMPLETE, repair_of=2)
    tried(ill, space, "peers", repair_of=3)
    assert ended(ill, "finished", 5, 12.0, 1.0, "next").repairs == (1, 4), "one rule's severity is no measure of another's"


LEVELS = """
health: {diagonality: {warmup_share: 0.3, patience_share: 0, warn: 1, critical: 0.99}, no_alignment: {warmup_share: 0.9}}
loss: {guided_weight: 1}
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a study of a recipe, two repairs and a sampled point."""
    out = tmp_path_factory.mktemp("runs")
    text = SMALL.replace("max_per_trial: 0", "max_per_trial: 2").replace("tacotune, nvidia, espnet", "tacotune")
    (out / "small.yaml").write_text(text.replace("pruner: {name: none}", "pruner: {name: health}") + LEVELS)
    assert command(out, "--study", "one", "--trials", "4", "--sampler", "random") == 0
    return out


def told(out: Path, name: str, kind: str) -> list[dict[str, Any]]:
    lines = (out / name / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def run(out: Path, name: str) -> list[tuple[Any, ...]]:
    """What a study tried, in the order of its numbers."""
    return [
        (trial.params, trial.value, *(trial.user_attrs.get(part) for part in ("k", "repair_depth", "changes", "repair_why")))
        for trial in finished(study(out, name))
    ]


def test_a_pruned_point_is_followed_by_its_repair_and_that_by_its_own(spoken: Path) -> None:
    first, second, third, sampled = study(spoken, "one").trials
    assert [trial.user_attrs["pruned_by"] for trial in (first, second, third)] == ["diagonality"] * 3
    assert [trial.params[GUIDED] for trial in (first, second, third)] == [1.0, 2.0, 4.0]
    for parent, repair in ((first, second), (second, third)):
        known = repair.user_attrs
        assert known["origin"] == f"repair of trial {parent.number}"
        assert known["repair_of"] == parent.number
        assert known["repair_depth"] == repair.number
        assert known["repair_why"] == parent.user_attrs["pruned_reason"]
        assert known["changes"] == [f"{GUIDED} {parent.params[GUIDED]:g} -> {repair.params[GUIDED]:g}"]
        same = {name: value for name, value in parent.params.items() if name != GUIDED}
        assert same.items() <= repair.params.items()
    origins = [event["origin"] for event in told(spoken, "one", "TrialStarted")]
    assert origins[1] == f"repair of trial 0: {GUIDED} 1 -> 2"
    assert origins[3] == "sampled", "two repairs are enough"
    assert "repair_of" not in sampled.user_attrs
    (page,) = told(spoken, "one", "StudyEnded")
    assert page["repairs"][1] == 2


def test_repairs_take_no_seed_away(spoken: Path) -> None:
    """Trial k is the same point with the same seed whether repairs ran before it or not, and a repair has its parent's seed."""
    assert command(spoken, "--study", "off", "--trials", "2", "--sampler", "random", "--set", "repair.max_per_trial=0") == 0
    one, off = run(spoken, "one"), run(spoken, "off")
    assert off == [one[0], one[3]]
    assert [trial[2] for trial in one] == [0, 0, 0, 1]


def test_parts_and_interruptions_change_nothing(spoken: Path) -> None:
    """Stopped after its first trial, then within a repair: the same trials as in one go, with their lineage."""
    more = ["--study", "parts", "--sampler", "random", "--trials"]
    assert command(spoken, *more, "1") == 0
    assert all(is_finished(trial) for trial in study(spoken, "parts").trials), "a study that is done owes its repair silently"
    with held(spoken, 1, 3.0, *more, "4") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert study(spoken, "parts").trials[1].state == TrialState.FAIL
    assert command(spoken, *more, "4") == 0
    again = study(spoken, "parts").trials[2].user_attrs
    assert (again["origin"], again["repair_of"], again["again_of"]) == ("repair of trial 0", 0, 1)
    origin = f"repair of trial 0: {GUIDED} 1 -> 2, again after trial 1"
    assert told(spoken, "parts", "TrialStarted")[2]["origin"] == origin
    assert run(spoken, "parts") == run(spoken, "one")
