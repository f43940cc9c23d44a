"""What a database does to a study, told from a bug of ours: refused when it is opened, and failed under a running study."""

from model.errors import BadInput
from storage.retry import OUTAGES, first_line

LOCAL = "postgres-local"  # the scheme of a PostgreSQL server of this machine's own


class StorageError(BadInput):
    """The database cannot be used. The message says why, without passwords, and the way out."""


FAILURES = (*OUTAGES, KeyError)  # of which `database_failure` may know


def database_failure(why: BaseException) -> str | None:
    """One sentence where the database failed under a running study: locked, full, damaged, deleted. None for anything else."""
    if isinstance(why, OUTAGES):
        return f"the database: {first_line(why)}"
    missing = isinstance(why, KeyError) and (why.args == ("Record does not exist.",) or isinstance(why.__cause__, OUTAGES))
    if missing:  # Optuna's words, for a study or a trial; a proxy's client has none
        return "the study was deleted from its database"
    return None
