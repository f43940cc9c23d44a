"""Repairs: which knobs each diagnosis changes, and within which bounds."""

import random
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from model.spoken import Fault
from objective.search.repair import REMEDIES, TARGETS, neighbour
from pruners.rules import SHIPPED_RULES, shipped_rules
from pruners.thresholds import ALIGNMENT, Thresholds
from search_spaces.parameters import Choice
from search_spaces.space import SHIPPED, Space, load
from tests.objective.search.knobs import ATTENTION, CLIP, DECAY, DECODER, DROP, GATE, GUIDED, PRENET, RATE, WARMUP, R

KNOBS = {  # that the repair of a cause changes
    "exploded": {RATE, CLIP},
    "unaligned": {GUIDED, R, PRENET},
    "never_stops": {GATE},
    "overfitted": {PRENET, ATTENTION, DECODER, DECAY},
    "too_slow": {RATE, WARMUP},
    "mumbles": {DROP, GUIDED, R, PRENET},
}
NAMES = {
    **{name: KNOBS[rule.cause] for name, rule in SHIPPED_RULES.items()},
    **dict.fromkeys(("understood", "mumbled"), KNOBS["mumbles"]),
    **dict.fromkeys(("stuck", "repeated", "skipped"), KNOBS["unaligned"]),
    **{name: {GATE} for name in ("endless", "late", "cut")},
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
def test_a_repair_lies_inside_the_space_and_changes_only_the_knobs_of_its_diagnosis(name: str, rule: str, seed: int) -> None:
    space = SPACES[name]
    old = space.sample(random.Random(seed))
    repair = neighbour(rule, old, space)
    if repair is None:
        return
    new = space.suggest(FixedTrial(repair.params))  # a value out of range is a warning, and so an error
    assert inside(space, new)
    switched_on = {"loss.guided_sigma"} if old.get(GUIDED) == 0 else set()
    changed = {knob for knob in new if new[knob] != old.get(knob)}
    assert changed - switched_on <= NAMES[rule]
    assert changed
    if {GUIDED, R, PRENET} <= NAMES[rule]:
        assert len(changed - switched_on) == 1, "one change at a time"
    assert {change.split()[0] for change in repair.changes} == changed - switched_on


MIDDLE = {
    **{RATE: 8e-4, CLIP: 0.5, WARMUP: 0.02, DECAY: 1e-6, GUIDED: 1.0, GATE: 4.0},
    **{R: 1, PRENET: 0.3, ATTENTION: 0.1, DECODER: 0.1},
}
AT_BOUND = {GUIDED: 5.0, R: 6}
REPAIRS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("grad_norm", {}, [f"{RATE} 0.0008 -> 0.0004"]),
    ("nonfinite", {CLIP: 5.0}, [f"{RATE} 0.0008 -> 0.0004", f"{CLIP} 5 -> 1"]),
    ("progress", {RATE: 1.5e-4}, [f"{RATE} 0.00015 -> 0.0001"]),
    ("relapse", {RATE: 1e-4, CLIP: 2.0}, [f"{CLIP} 2 -> 1"]),
    ("grad_norm", {RATE: 1e-4, CLIP: 1.0}, []),
    ("no_alignment", {}, [f"{GUIDED} 1 -> 2"]),
    ("diagonality", {}, [f"{GUIDED} 1 -> 2"]),
    ("reading", {GUIDED: 4.0}, [f"{GUIDED} 4 -> 5"]),
    ("coverage", {GUIDED: 0}, [f"{GUIDED} 0 -> 1"]),
    ("no_alignment", {GUIDED: 0.014}, [f"{GUIDED} 0.014 -> 1"]),
    ("diagonality", {GUIDED: 5.0}, [f"{R} 1 -> 2"]),
    ("diagonality", {GUIDED: 4.9}, [f"{R} 1 -> 2"]),
    ("diagonality", AT_BOUND, [f"{PRENET} 0.3 -> 0.4"]),
    ("diagonality", AT_BOUND | {PRENET: 0.45}, [f"{PRENET} 0.45 -> 0.5"]),
    ("diagonality", AT_BOUND | {PRENET: 0.5}, []),
    ("gate_accuracy", {}, [f"{GATE} 4 -> 8"]),
    ("endless", {GATE: 15.0}, [f"{GATE} 15 -> 20"]),
    ("late", {}, [f"{GATE} 4 -> 8"]),
    ("cut", {GATE: 15.0}, [f"{GATE} 15 -> 7.5"]),
    *((fault, {}, [f"{GUIDED} 1 -> 2"]) for fault in ("stuck", "repeated", "skipped")),
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


@pytest.mark.parametrize(("rule", "settings", "changes"), REPAIRS)
def test_each_diagnosis_has_its_repair(rule: str, settings: dict[str, Any], changes: list[str]) -> None:
    space = SPACES["default"]
    start = space.suggest(FixedTrial(space.to_trial_params(MIDDLE | settings)[0]))
    repair = neighbour(rule, start, space)
    assert (list(repair.changes) if repair else []) == changes


@pytest.mark.parametrize("rule", ["understood", "mumbled"])
@pytest.mark.parametrize(
    ("rate", "changes"),
    [(0.0, [f"{DROP} 0 -> 0.2"]), (0.5, [f"{DROP} 0.5 -> 0.6"]), (0.6, [f"{GUIDED} 1 -> 2"])],
)
def test_a_voice_that_is_not_understood_hears_its_teacher_less(
    rule: str, rate: float, changes: list[str], tmp_path: Path
) -> None:
    """It drops more frames, and at the bound attention is guided more."""
    file = tmp_path / "drops.yaml"
    file.write_text(f"name: drops\nabout: two\nparameters:\n  {DROP}: {{float: [0, 0.6]}}\n  {GUIDED}: {{float: [0.1, 5]}}\n")
    repair = neighbour(rule, {DROP: rate, GUIDED: 1.0}, load(str(file)))
    assert (list(repair.changes) if repair else []) == changes


def test_every_target_and_every_fault_has_a_remedy() -> None:
    assert {"understood", *ALIGNMENT, *get_args(Fault)} <= REMEDIES.keys()
    assert set(TARGETS) == {*ALIGNMENT, "understood", "free_failures"}


def test_every_shipped_rule_has_a_cure() -> None:
    curable = {rule for rule, remedy in REMEDIES.items() if remedy.moves is not None}
    assert {rule.name for rule in shipped_rules(Thresholds())} <= curable == NAMES.keys()


def test_a_knob_that_is_not_searched_is_not_changed() -> None:
    assert neighbour("gate_accuracy", SPACES["seed"].sample(random.Random(0)), SPACES["seed"]) is None
    wide = SPACES["record"]
    dropped = wide.sample(random.Random(0)) | {GUIDED: 20.0, R: 5, PRENET: 0.7}
    assert neighbour("diagonality", dropped, wide) is None, (
        "dropout is neither raised above the published 0.5 nor lowered to it"
    )
