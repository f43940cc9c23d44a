"""Failures of the machine (disk, database, missing program), told apart from bugs."""

from concurrent.futures import BrokenExecutor

from model.errors import RankLost, SpeakingError
from storage.errors import FAILURES, database_failure

MACHINE = (OSError, SpeakingError, RankLost, BrokenExecutor, *FAILURES)  # exceptions that `machine_failure` may explain


def machine_failure(why: BaseException) -> str | None:
    """Explain in one sentence that a disk, a database or a missing program failed. None for any other exception."""
    if isinstance(why, OSError):
        place = f": {why.filename}" if why.filename else ""
        return f"{(why.strerror or str(why)).lower()}{place}"
    if isinstance(why, SpeakingError | RankLost | BrokenExecutor):
        return str(why)
    return database_failure(why)
