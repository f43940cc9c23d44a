"""Rules as tables: for each curve the report at which a rule stops it, and the sentence that gives the reason."""

import math
from collections.abc import Sequence
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruners.combinators import After, AllOf, AnyOf, Patient
from pruners.decision import Decision, judge, status
from pruners.health_record import MAX_REPORTS, SIGNALS, Record, empty, extended
from pruners.rules import SHIPPED_RULES, Below, Relapse, shipped_rules
from pruners.thresholds import Ceiling, Floor, Mumbling, NoAlignment, Stagnation, Thresholds, renamed

BUDGET = 240.0  # kframes: a report every 10
WELL = {
    "val_loss": 1.0, "train_loss": 1.0, "grad_norm_median": 1.0, "grad_norm_p95": 2.0, "nonfinite": 0, "streak": 0,
    "diagonality": 0.9, "focus": 0.7, "coverage": 1.0, "backtrack": 0.0, "reading": 0.7, "alignment_score": 0.5,
    "gate_accuracy": 0.95, "stop_f1": 1.0,
}  # fmt: skip
# The tables' own thresholds, whatever is shipped: attention counts after 72 kframes, the gate after 144.
THRESHOLDS = Thresholds(
    no_alignment=NoAlignment(0.15, 0.15, warmup_share=0.1, patience_share=0.04),
    diagonality=Floor(0.7, 0.4, warmup_share=0.3),
    reading=Floor(0.3, 0.1, warmup_share=0.3),
    coverage=Floor(0.9, 0.6, warmup_share=0.3),
    gate_accuracy=Floor(0.8, 0.6, warmup_share=0.6),
    progress=Floor(0.05, -0.1, warmup_share=0.3),
    mumbling=Mumbling(0.7, 0.5, warmup_share=0.2),
    relapse=Ceiling(0.3, 0.6),
    stagnation=Stagnation(0.02, 0.005, window_share=0.4),
)
RULES = shipped_rules(THRESHOLDS)


def curve(count: int = 24, **signals: Sequence[float | None]) -> Record:
    """Return the record of a healthy, slowly improving trial with the given signals instead; the last value of each repeats."""
    record = empty(BUDGET)
    for i in range(count):
        values: dict[str, float | None] = {**WELL, "kframes": 10.0 * (i + 1), "val_loss": 2 * 0.9**i, "train_loss": 2 * 0.9**i}
        for name, given_values in signals.items():
            values[name] = given_values[min(i, len(given_values) - 1)]
        record = extended(record, values)
    return record


def stopped(record: Record) -> tuple[float, Decision] | None:
    """Return the first report, in kframes, at which the whole set of rules stops this trial, as in a live study."""
    growing = empty(record["budget_kframes"])
    for i, kframes in enumerate(record["kframes"]):
        growing = extended(growing, {name: record[name][i] for name in SIGNALS})
        for decision in judge(growing, RULES):
            if decision.stop:
                return kframes, decision
    return None


TABLE = {
    # signals, kframes of the stop, the rule, and parts of the sentence
    "healthy": ({}, None, None, ()),
    "no alignment": ({"diagonality": [0.2]}, 100, "diagonality", ("diagonality 0.20 < 0.40", "3 of 3", "since 80 kframes")),
    "no alignment in the warm-up": ({"diagonality": [0.2] * 7 + [0.8]}, None, None, ()),
    "low but above critical": ({"diagonality": [0.5]}, None, None, ()),
    "comes and goes": ({"diagonality": [0.2, 0.2, 0.8] * 8}, None, None, ()),
    "neither on the diagonal nor in order": (
        {"diagonality": [0.1], "reading": [0.1]},
        40,
        "no_alignment",
        ("diagonality 0.10 < 0.15, and reading 0.10 < 0.15 in 2 of 2 validations since 30",),
    ),
    "in order at another pace": ({"diagonality": [0.1] * 7 + [0.9], "reading": [0.3]}, None, None, ()),
    "blurred": ({"reading": [0.05]}, 100, "reading", ("reading 0.05 < 0.10",)),
    "skips": ({"coverage": [0.5]}, 100, "coverage", ("coverage 0.50 < 0.60",)),
    "good, then lost": ({"diagonality": [0.9] * 15 + [0.1]}, 180, "diagonality", ("since 160 kframes",)),
    "never stops": ({"gate_accuracy": [0.5]}, 170, "gate_accuracy", ("gate accuracy 0.50 < 0.60", "since 150 kframes")),
    "a late gate": ({"gate_accuracy": [0.5] * 14 + [0.9]}, None, None, ()),
    "explodes": ({"grad_norm_p95": [2.0] * 4 + [500.0]}, 70, "grad_norm", ("gradient norm 500.00 > 20.00", "10 times its own")),
    "huge from the start": ({"grad_norm_p95": [300.0]}, 30, "grad_norm", ("gradient norm 300.00 > 100.00", "3 of 3")),
    "one spike": ({"grad_norm_p95": [2.0] * 4 + [500.0] + [2.0]}, None, None, ()),
    "restless but small": ({"grad_norm_p95": [0.2] * 4 + [3.0]}, None, None, ()),
    "vanishes": ({"grad_norm_median": [1.0] * 4 + [1e-9]}, 70, "grad_norm_median", ("1e-09 < 1e-08",)),
    "not finite": ({"streak": [0, 0, 7]}, 30, "nonfinite", ("7 consecutive steps were not finite", "limit 5")),
    "a few steps skipped": ({"nonfinite": [0, 2], "streak": [0, 1]}, None, None, ()),
    "no validation loss": ({"val_loss": [1.0, 1.0, None]}, 30, "nonfinite", ("validation loss is not finite at 30 kframes",)),
    "diverges": ({"val_loss": [1.0] * 9 + [1.5]}, 130, "progress", ("progress", "3 of 3 validations since 110")),
    "stagnates unaligned": (
        {"val_loss": [1.0], "reading": [0.2]},
        110,
        "stagnation",
        ("0.0% < 0.5%", "in the last 40% of the budget"),
    ),
    "loses its alignment": ({"reading": [0.6] * 15 + [0.2]}, 180, "relapse", ("0.60 at 10 kframes: lost 67% > 60%",)),
    "never had one to lose": ({"reading": [0.59] * 15 + [0.11]}, None, None, ()),
    "mumbles": (
        {"free_errors": [None, None, 0.8] * 4 + [None, None, 0.85], "free_floor": [0.0]},
        120,
        "mumbling",
        ("20% of the letters are heard", "at 120 kframes: 40% < 50%"),
    ),
    "clearer and clearer": (
        {"free_errors": [None] * 7 + [0.8, None, None, 0.7, None, 0.6, 0.3], "free_floor": [0.1]},
        None,
        None,
        (),
    ),
    "heard as badly as the recordings": ({"free_errors": [0.85], "free_floor": [0.8]}, None, None, ()),
    "mumbles at first": ({"free_errors": [1.0] * 4 + [0.7] * 10 + [0.4], "free_floor": [0.0]}, None, None, ()),
    "no listener": ({"free_errors": [0.99], "free_floor": [None]}, None, None, ()),
    "done": ({"val_loss": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3]}, None, None, ()),
    "overfits": (
        {"val_loss": [1.0] * 8 + [0.8, 0.9, 1.0, 1.1], "train_loss": [1.0] * 8 + [0.5, 0.4, 0.4, 0.4]},
        120,
        "overfit_gap",
        ("validation loss 1.10, best 0.80", "3 of 3 validations since 100"),
    ),
    "nothing measured": ({name: [None] for name in SIGNALS if name not in ("kframes", "val_loss")}, None, None, ()),
}


@pytest.mark.parametrize("case", TABLE)
def test_where_a_curve_is_stopped_and_why(case: str) -> None:
    signals, kframes, rule, parts = TABLE[case]
    if rule == "progress":
        signals = {**signals, "reading": [0.7]}
    end = stopped(curve(**signals))
    if kframes is None:
        assert end is None, end
        return
    assert end is not None
    assert (end[0], end[1].rule) == (kframes, rule)
    assert all(part in end[1].evidence for part in parts), end[1].evidence
    assert end[1].severity > 0


def test_the_status_follows_from_the_gravest_finding() -> None:
    assert status(judge(curve(), RULES)) == "STABLE"
    assert status(judge(curve(diagonality=[0.6]), RULES)) == "ATTENTION"
    assert status(judge(curve(count=8, diagonality=[0.2]), RULES)) == "CRITICAL"


def test_the_gravest_comes_first() -> None:
    found = judge(curve(diagonality=[0.2], coverage=[0.8], streak=[9]), RULES)
    assert [decision.rule for decision in found] == ["nonfinite", "diagonality", "coverage"]
    assert [decision.stop for decision in found] == [True, True, False]


values = st.one_of(st.none(), st.floats(0, 1e6, allow_nan=False))


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SIGNALS[1:], values)), max_size=30))
def test_every_record_can_be_judged(reports: list[dict[str, float | None]]) -> None:
    record = empty(BUDGET)
    for i, report in enumerate(reports):
        record = extended(record, {**report, "kframes": 10.0 * (i + 1)})
    for decision in judge(record, RULES):
        assert decision.evidence
        assert not math.isnan(decision.severity)


def test_a_long_record_is_thinned_out_but_keeps_both_ends() -> None:
    record = empty(1e6)
    for i in range(2_000):
        record = extended(record, {**WELL, "kframes": float(i)})
        assert len(record["kframes"]) <= MAX_REPORTS
    assert record["kframes"][0] == 0
    assert record["kframes"][-50:] == [float(i) for i in range(1_950, 2_000)]
    assert record["kframes"] == sorted(record["kframes"])
    assert {len(record[name]) for name in SIGNALS} == {len(record["kframes"])}


def test_thresholds_of_an_older_version_have_todays_names() -> None:
    old = {
        "vanishing": {"warn": 1e-6},
        "alignment_score": {"warn": 0.2},
        "targets": {"alignment_score": 0.5, "diagonality": 0.7},
    }
    assert renamed(old) == {
        "grad_norm_median": {"warn": 1e-6},
        "reading": {"warn": 0.2},
        "targets": {"reading": 0.5, "diagonality": 0.7},
    }


def test_a_record_of_an_older_version_is_judged_by_the_signals_that_it_has() -> None:
    old = {name: values for name, values in curve(diagonality=[0.2]).items() if name != "reading"}
    assert [(decision.rule, decision.stop) for decision in judge(old, RULES)] == [("diagonality", True)]
    longer = extended(old, {**WELL, "kframes": 250.0, "reading": 0.9})
    assert longer["reading"] == [None] * 24 + [0.9]


LOW = Below("diagonality", Floor(0.7, 0.4))


def test_after_ignores_the_warm_up() -> None:
    rule = After(LOW, 0.5)
    assert rule(curve(count=12, diagonality=[0.1])) is None
    assert rule(curve(count=13, diagonality=[0.1])) == LOW(curve(count=1, diagonality=[0.1]))
    assert rule(empty(BUDGET)) is None


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.04, 2), (0.08, 3), (0.25, 7)])
def test_patience_is_a_share_of_the_budget_whatever_the_grid(share: float, count: int) -> None:
    for shorter in range(1, count):
        found = Patient(LOW, share)(curve(count=shorter, diagonality=[0.1]))
        assert found is not None
        assert (found.stop, found.critical) == (False, True)
    found = Patient(LOW, share)(curve(count=count, diagonality=[0.1]))
    assert found is not None
    assert found.stop
    assert found.evidence == f"diagonality 0.10 < 0.40 in {count} of {count} validations since 10 kframes"


@pytest.mark.parametrize("missing", [None, 0.5])
def test_a_better_or_a_missing_value_restarts_patience(missing: float | None) -> None:
    found = Patient(LOW, 0.08)(curve(count=9, diagonality=[0.1] * 6 + [missing, 0.1, 0.1]))
    assert found is not None
    assert not found.stop
    assert "2 of 2 validations since 80 kframes" in found.evidence


def test_any_of_is_as_grave_as_the_gravest_and_all_of_as_the_mildest() -> None:
    rules = (Below("diagonality", Floor(0.7, 0.4)), Below("coverage", Floor(0.9, 0.6)))
    either, both = AnyOf("attention", rules), AllOf("attention", rules)
    well = curve(count=3)
    assert either(well) is both(well) is None
    one = curve(count=3, diagonality=[0.2])
    assert both(one) is None
    found = either(one)
    assert found is not None
    assert (found.rule, found.stop) == ("attention", True)
    mixed = curve(count=3, diagonality=[0.2], coverage=[0.8])
    gravest, mildest = either(mixed), both(mixed)
    assert gravest is not None
    assert mildest is not None
    assert (gravest.stop, mildest.stop, mildest.critical) == (True, False, False)
    two = both(curve(count=3, diagonality=[0.2], coverage=[0.5]))
    assert two is not None
    assert two.stop
    assert "diagonality 0.20 < 0.40" in two.evidence
    assert "coverage 0.50 < 0.60" in two.evidence


def test_relapse_is_measured_from_the_best_score() -> None:
    rule = Relapse(Ceiling(0.3, 0.6))
    found = rule(curve(count=4, reading=[0.5, 0.8, 0.5, 0.5]))
    assert found is not None
    assert (found.critical, found.evidence) == (False, "reading 0.50, 0.80 at 20 kframes: lost 38% > 30%")


def test_a_rule_its_thresholds_and_its_setting_have_one_name() -> None:
    assert [rule.name for rule in RULES] == list(SHIPPED_RULES)
    assert {field.name for field in fields(Thresholds)} == {*SHIPPED_RULES, "targets"}


def test_rules_are_chosen_by_their_cause() -> None:
    names = [rule.name for rule in shipped_rules(THRESHOLDS, cause="unaligned")]
    assert names == ["no_alignment", "diagonality", "reading", "coverage"]
