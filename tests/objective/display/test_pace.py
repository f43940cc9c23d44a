"""A study says how long its trials take, once, as soon as a trial has shown its speed."""

import pytest

from objective.display.pace import pace
from tests.objective import samples
from tests.objective.display.screens import display, lines, unwrapped

SENTENCE = "4,000 frames/s: a trial of the whole budget takes 2 min 05 s, the 5 to come at most 10 min 25 s"


@pytest.mark.parametrize(
    ("workers", "finished", "end"),
    [
        (1, 0, "the 5 to come at most 10 min 25 s"),
        (2, 0, "the 5 to come at most 6 min 15 s"),
        (1, 3, "the 2 to come at most 4 min 10 s"),
        (4, 5, "the 0 to come at most 0 s"),
    ],
)
def test_trials_to_come_share_the_workers(workers: int, finished: int, end: str) -> None:
    study = samples.study_started(workers=workers, finished=finished)
    assert pace(study, 500.0, samples.report(120.0)).endswith(end)


def test_the_speed_is_that_of_the_trial_wherever_it_is() -> None:
    study = samples.study_started()
    assert pace(study, 500.0, samples.report(20.0)) == pace(study, 500.0, samples.report(480.0)) == SENTENCE
    assert "takes 0 s" in pace(study, 500.0, samples.report(seconds=0.0))


@pytest.mark.parametrize("show", [lines, display])
def test_it_is_shown_at_the_first_report_and_never_again(show) -> None:
    events = [samples.study_started(), samples.trial_started(), samples.reported(kframes=60.0)]
    assert SENTENCE not in unwrapped(show(events[:2]))
    later = [samples.reported(), samples.trial_ended(), samples.trial_started(4), samples.reported(4)]
    output = unwrapped(show([*events, *later]))
    assert output.count("frames/s") == output.count(SENTENCE) == 1
