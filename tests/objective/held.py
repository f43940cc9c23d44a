"""Run the study command, which blocks after a given report until its stdin is closed, so that a test can act in between.

`python -m tests.objective.held NUMBER KFRAMES ARGUMENT...`: the trial and the report, then the command's own arguments. A
worker whose machine failed retries after one second.
"""

import sys

import objective.search.worker
from objective.events.fanout import Sinks
from objective.events.types import Event, Reported
from objective.study import main


def hold(number: int, kframes: float) -> None:
    """Block after the report of trial `number` at `kframes`."""
    emit = Sinks.emit

    def held(sinks: Sinks, event: Event) -> None:
        emit(sinks, event)
        if isinstance(event, Reported) and (event.number, event.report.kframes) == (number, kframes):
            sys.stdin.readline()

    Sinks.emit = held  # type: ignore[method-assign]


if __name__ == "__main__":
    objective.search.worker.FIRST_WAIT_S = 1.0
    hold(int(sys.argv[1]), float(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
