"""The sentence on how long a study may take, said once: at the first report of its first trial the speed is known."""

import math

from model.report import Report
from objective.display.formatting import duration
from objective.events.types import StudyStarted


def pace(study: StudyStarted, budget_kframes: float, report: Report) -> str:
    """Return the speed of a trial, the time that its budget takes, and what all trials to come take if none ends early.

    "2,412 frames/s: a trial of the whole budget takes 2 h 05 min, the 46 to come at most 4 d 0 h". It leaves out the
    evaluation at the end of each trial, and trials that are slower than this one.
    """
    speed = 1_000 * report.kframes / report.seconds if report.seconds > 0 else math.inf
    trial = 1_000 * budget_kframes / speed
    to_come = max(0, study.wanted - study.finished)
    together = duration(math.ceil(to_come / study.workers) * trial)
    return (
        f"{speed:,.0f} frames/s: a trial of the whole budget takes {duration(trial)}, the {to_come} to come at most {together}"
    )
