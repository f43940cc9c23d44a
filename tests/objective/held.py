"""The command, which stands still after a report until its stdin is closed: what a test does meanwhile is done in time.

As `python -m tests.objective.held NUMBER KFRAMES`, then the command's own words.
"""

import sys

from objective.events.fanout import Sinks
from objective.events.types import Event, Reported
from objective.study import main


def hold(number: int, kframes: float) -> None:
    emit = Sinks.emit

    def held(sinks: Sinks, event: Event) -> None:
        emit(sinks, event)
        if isinstance(event, Reported) and (event.number, event.report.kframes) == (number, kframes):
            sys.stdin.readline()

    Sinks.emit = held  # type: ignore[method-assign]


if __name__ == "__main__":
    hold(int(sys.argv[1]), float(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
