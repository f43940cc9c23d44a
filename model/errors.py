"""Errors that every room shares."""


class BadInput(ValueError):
    """Something a person typed or provided cannot be used. The message states the rule, the value and the way out.

    Commands print the message and exit with code 2 (objective/runtime/endings.py).
    """


class SpeakingError(RuntimeError):
    """espeak-ng cannot be run. The message says why, and the way out."""


class RankLost(RuntimeError):
    """Another rank ended or did not answer in time: this one cannot continue."""
