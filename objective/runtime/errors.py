"""What a machine does to a study, told from a bug of ours."""

from concurrent.futures import BrokenExecutor

from model.data.demo import SpeakingError
from model.distributed import RankLost
from storage.errors import FAILURES, database_failure

MACHINE = (OSError, SpeakingError, RankLost, BrokenExecutor, *FAILURES)  # of which `machine_failure` may know


def machine_failure(why: BaseException) -> str | None:
    """One sentence where a disk, a database or a missing program stopped the work; None for anything else."""
    if isinstance(why, OSError):
        place = f": {why.filename}" if why.filename else ""
        return f"{(why.strerror or str(why)).lower()}{place}"
    if isinstance(why, SpeakingError | RankLost | BrokenExecutor):
        return str(why)
    return database_failure(why)
