"""Everything watches a study, and in the middle everything that it is watched with is taken away: the study notices nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from objective.search.control import pause
from objective.search.worker import PAUSED
from tests.objective.small_study import ROOT, command, events, results, study, study_arguments
from tests.objective.watchers import Watchers
from tests.processes import until

pytestmark = pytest.mark.slow
BUDGET = ("--trials", "6", "--budget-kframes", "60", "--seed", "3", "--set", "study.unaligned=0")


def test_what_is_taken_away_in_the_middle_changes_no_value(spoken: Path) -> None:
    assert command(spoken, "--study", "unseen", *BUDGET) == 0
    with Watchers(spoken, "in-view") as watchers:
        arguments = [
            sys.executable,
            "-m",
            "objective.study",
            *study_arguments(spoken, "--study", "in-view", *BUDGET, *watchers.flags),
        ]
        with subprocess.Popen(arguments, cwd=ROOT, env=watchers.environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reports = (line for line in process.stdout if "kframes  loss" in line)
            next(reports)
            pause(study(spoken, "in-view"), True)  # they may take longer to start than the trials take
            until(watchers.at_work)
            pause(study(spoken, "in-view"), False)
            next(reports)
            watchers.take_away()
            for _ in reports:
                pass
        assert process.returncode == 0
    assert results(spoken, "in-view") == results(spoken, "unseen")
    assert {event["sentence"] for event in events(spoken, "in-view", "Warned")} <= {PAUSED}
