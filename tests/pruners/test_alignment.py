"""Whether the trials of a study aligned, when, and what a study says where none of them did."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from pruners.alignment import ALIGNED, UNPROVEN, UNSEEN, aligned_at, grace, nobody_aligned
from pruners.rules import SHIPPED_RULES
from tests.pruners.test_rules import curve

diagonalities = st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=24)


def trial(*diagonality: float | None, by: str | None = None, state: TrialState | None = None, number: int = 0) -> FrozenTrial:
    """A trial with a report every 10 of 240 kframes: complete, stopped by the rule `by`, or in another `state`."""
    state = state or (TrialState.COMPLETE if by is None else TrialState.PRUNED)
    attributes = {"health": curve(len(diagonality), diagonality=diagonality)} | ({"pruned_by": by} if by else {})
    made = create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None, user_attrs=attributes)
    made.number = number
    return made


@given(diagonalities)
def test_a_trial_aligned_at_its_first_report_that_shows_it(values: list[float | None]) -> None:
    first = next((n for n, value in enumerate(values, 1) if value is not None and value >= ALIGNED), None)
    assert aligned_at(trial(*values)) == (None if first is None else pytest.approx(first / 24))
    assert aligned_at(create_trial(state=TrialState.FAIL)) is None


@pytest.mark.parametrize("rule", SHIPPED_RULES)
@given(st.lists(diagonalities.map(lambda values: trial(*values)), max_size=4))
def test_more_trials_never_make_a_rule_wait_longer(rule: str, trials: list[FrozenTrial]) -> None:
    waits = [grace(rule, trials[:count]) for count in range(len(trials) + 1)]
    assert waits == sorted(waits, reverse=True)
    assert {0.0, UNPROVEN} >= set(waits) or all(UNPROVEN <= wait <= UNSEEN for wait in waits)


LOW = [0.2] * 11 + [0.4] + [0.3] * 12  # closest at half of the budget


def test_a_study_in_which_nobody_aligned_says_who_came_closest_and_what_to_change() -> None:
    trials = [trial(*[0.2] * 24), trial(*LOW, number=1), trial(*[0.2] * 12, by="no_alignment", number=2)]
    assert nobody_aligned(trials, 3) == (
        "none of 3 trials has aligned: the closest, trial 1, had a diagonality of 0.40 at 50% of its budget, "
        "an alignment has 0.70: raise loss.guided_weight, network.drop_frame_rate or network.reduction; "
        "if that does not help, budget.kframes, now 240; or add recordings"
    )
    assert nobody_aligned(trials, 4) is nobody_aligned(trials[:2], 3) is nobody_aligned(trials, 0) is None


def test_where_the_closest_was_still_rising_the_budget_comes_first() -> None:
    rising = nobody_aligned([trial(*[0.02 * n for n in range(24)])], 1)
    assert rising is not None
    assert "raise budget.kframes, now 240 (it was still rising); if that does not help, loss.guided_weight" in rising
    wavering = nobody_aligned([trial(*[0.2 + 0.001 * n for n in range(24)])], 1)
    assert wavering is not None
    assert "rising" not in wavering


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_one_alignment_anywhere_is_enough(state: TrialState) -> None:
    hopeless = [trial(*LOW, number=number) for number in range(3)]
    assert nobody_aligned(hopeless, 3)
    assert nobody_aligned([*hopeless, trial(0.2, 0.9, 0.2, state=state)], 3) is None


@pytest.mark.parametrize("other", [trial(*LOW, by="nonfinite"), trial(*LOW, by="peers"), trial(*LOW, state=TrialState.FAIL)])
def test_a_trial_that_ended_for_another_reason_had_no_time_to_align(other: FrozenTrial) -> None:
    assert nobody_aligned([trial(*LOW), other], 2) is None
    assert nobody_aligned([trial(*LOW), create_trial(state=TrialState.COMPLETE, value=1.0)], 2) is None


def test_nothing_measured_is_no_alignment() -> None:
    assert nobody_aligned([trial(None, None)], 1) is not None


def test_a_pruned_trial_that_gp_sees_as_complete_is_counted_by_its_rule() -> None:
    study = optuna.create_study()
    study.add_trial(trial(*LOW, by="grad_norm", state=TrialState.COMPLETE))
    assert nobody_aligned(study.trials, 1) is None
