"""A study in which no trial aligned says so, and what to change, and continues."""

import optuna

from objective.display.summary import ended
from objective.search.worker import warn_if_nobody_aligned
from tests.pruners.test_rules import curve


def run_hopeless(study: optuna.Study) -> None:
    """Run a trial that uses its budget and reads nothing."""
    trial = study.ask()
    trial.set_user_attr("health", curve(diagonality=[0.2]))
    study.tell(trial, 1.0)


def test_it_is_said_once_whichever_worker_says_it_and_again_on_the_last_page() -> None:
    study = optuna.create_study()
    said: list[str] = []
    for count in range(1, 6):
        run_hopeless(study)
        warn_if_nobody_aligned(study, study.trials, 3, said.append)  # each time another worker may do it
        assert len(said) == (count >= 3)
    assert said[0].startswith("none of 3 trials has aligned: ")
    assert study.user_attrs["unaligned"] == said[0]
    page = ended(study, "finished", wanted=5, budget_kframes=240.0, seconds=60.0, commands=(), unaligned=3)
    assert page.unaligned is not None
    assert page.unaligned.startswith("none of 5 trials has aligned: ")


def test_zero_says_it_never() -> None:
    study = optuna.create_study()
    run_hopeless(study)
    said: list[str] = []
    warn_if_nobody_aligned(study, study.trials, 0, said.append)
    assert said == []
    assert ended(study, "finished", wanted=1, budget_kframes=240.0, seconds=60.0, commands=()).unaligned is None
