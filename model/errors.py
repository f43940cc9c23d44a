"""Errors that every room shares."""


class BadInput(ValueError):
    """Something a person typed or provided cannot be used. The message states the rule, the value and the way out.

    Commands print the message and exit with code 2 (objective/runtime/endings.py).
    """
