"""One seed gives the same trials, bit for bit."""

from pathlib import Path

import pytest

from tests.objective.small_study import QUICK, UNDISTURBED, command, results


def test_two_runs_with_one_seed_are_the_same_bit_for_bit(undisturbed: Path) -> None:
    assert command(undisturbed, "--study", "other", *UNDISTURBED) == 0
    assert results(undisturbed, "other") == results(undisturbed, "undisturbed")


def test_random_searches_with_one_seed_are_the_same_in_one_command_and_in_parts(spoken: Path) -> None:
    quick = [*QUICK, "--set", "study.recipes=[]"]
    for name, trials in (("one", "2"), ("parts", "1"), ("parts", "2")):
        assert command(spoken, "--study", name, "--trials", trials, "--sampler", "random", "--seed", "7", *quick) == 0
    one = results(spoken, "one")
    assert one == results(spoken, "parts")
    assert len({str(parameters) for parameters, _, _ in one}) == 2


@pytest.mark.slow
def test_several_commands_give_the_trials_of_a_single_one(undisturbed: Path) -> None:
    for trials in ("1", "2", "4"):
        assert command(undisturbed, "--study", "parts", *UNDISTURBED, "--trials", trials) == 0
    assert results(undisturbed, "parts") == results(undisturbed, "undisturbed")
