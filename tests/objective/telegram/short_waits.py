"""The reporter with short waits; as a module, its command: `python -m tests.objective.telegram.short_waits ...`."""

import sys

from objective.telegram import bot_api, lease, reporter
from objective.telegram.__main__ import main

SHORT = {
    bot_api: {"SPACING_S": 0.0, "FIRST_S": 0.01, "LONGEST_S": 0.05, "ANSWER_S": 5.0},
    lease: {"GRACE_S": 5.0},
    reporter: {"POLL_S": 0.02, "BOARD_S": 0.1, "SETTLE_S": 0.05, "BEAT_S": 0.1, "LISTEN_S": 0.5, "LEAVE_S": 0.2},
}


def shorten_waits() -> None:
    """Shorten the waits of this process for good."""
    for module, constants in SHORT.items():
        for name, seconds in constants.items():
            setattr(module, name, seconds)


if __name__ == "__main__":
    shorten_waits()
    sys.exit(main())
