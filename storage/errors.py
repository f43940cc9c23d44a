"""Failures of a database, told apart from bugs: it cannot be opened, or it fails while a study runs."""

from model.errors import BadInput
from storage.retry import OUTAGES, first_line

LOCAL = "postgres-local"  # URL scheme of a private PostgreSQL server on this machine


class StorageError(BadInput):
    """The database cannot be used. The message gives the reason, without passwords, and the way out."""


FAILURES = (*OUTAGES, KeyError)  # exceptions that `database_failure` may explain


def database_failure(why: BaseException) -> str | None:
    """Explain in one sentence that the database failed under a running study: locked, full, damaged or deleted.

    Returns None for any other exception.
    """
    if isinstance(why, OUTAGES):
        return f"the database: {first_line(why)}"
    # Optuna's own message for a missing study or trial; through a proxy there is no message.
    if isinstance(why, KeyError) and (why.args == ("Record does not exist.",) or isinstance(why.__cause__, OUTAGES)):
        return "the study was deleted from its database"
    return None
