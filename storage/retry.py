"""A storage that waits for its database: what fails because the database is away, locked or restarted is tried again.

Nobody knows whether an operation whose answer was lost had been done, so each one must bear being done twice:
- What reads, and what writes a report, an attribute or the kind of a trial under its own name, does the same again. A parameter
  that is there already is left as it is.
- `create_new_trial` may leave a RUNNING trial that nobody signs, which the leases (storage/leases.py) give back, or a WAITING
  point twice, which costs a trial and spoils nothing.
- WAITING -> RUNNING says "not yours" the second time, because whoever took it cannot be told from us: better a trial that
  nobody signs than one that two run.
- `create_new_study` finds its name taken, `delete_study` finds nothing, COMPLETE or PRUNED finds the trial finished: where that
  is what was to be written, it was us, and no error. FAIL is the exception. It looks the same whoever wrote it, and it is the
  fence between two who release one trial, so it stays an error: at worst both believe it was the other, and the trial is owed.
"""

import functools
import inspect
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError, PendingRollbackError, SQLAlchemyError

OPENING_SECONDS = 5  # for which a server that is not there is waited for, when it is opened
FIRST_S, LONGEST_S = 0.1, 5.0  # between two attempts, doubling
LOUD_S = 0.5  # for which it may fail in silence: two programs that write at one moment are nothing to tell
OUTAGES = (StorageInternalError, SQLAlchemyError, sqlite3.Error, grpc.RpcError)  # of which some pass
PASSING_STATES = ("08", "40", "57P", "53300", "55P03")  # PostgreSQL's: connection, deadlock, shutdown, too many, locked
PASSING_WORDS = ("starting up", "shutting down", "recovery", "accepting connections", "too many clients", "slots are reserved")

log = logging.getLogger(__name__)
Storage = TypeVar("Storage", bound=type[BaseStorage])


def patient(storage: Storage) -> Storage:
    """Let the operations of a class try again for `patience_s` seconds, its attribute, which may change at any time."""
    for name, method in inspect.getmembers(storage, inspect.isfunction):
        if name.startswith(("get_", "set_", "create_", "delete_")):
            setattr(storage, name, _patiently(method, *_SETTLED.get(name, ((), None))))
    return storage


def passing(why: BaseException) -> bool:
    """Whether a failure may be over soon: dropped, refused, restarted, locked; not a wrong password or a missing table."""
    if isinstance(why, grpc.RpcError):
        return bool(why.code() == grpc.StatusCode.UNAVAILABLE)
    if isinstance(why, StorageInternalError) and why.__cause__:
        why = why.__cause__
    if isinstance(why, PendingRollbackError):  # the connection was lost in the middle, and Optuna asked once more
        return True
    driver = origin(why)
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if not isinstance(why, OperationalError):
        return False
    if state := getattr(driver, "sqlstate", None):
        return str(state).startswith(PASSING_STATES)
    said = str(driver)  # without a connection the driver has only words; where the server itself refused, FATAL is among them
    return "FATAL" not in said or any(words in said for words in PASSING_WORDS)


def origin(why: BaseException) -> BaseException:
    """The driver's own error behind Optuna's and SQLAlchemy's."""
    cause = why.__cause__ if isinstance(why, StorageInternalError) and why.__cause__ else why
    return getattr(cause, "orig", None) or cause


def first_line(why: BaseException) -> str:
    """What the driver says, in one line."""
    driver = origin(why)
    text = str(driver.details() if isinstance(driver, grpc.RpcError) else driver).strip()
    return text.splitlines()[0] if text else type(driver).__name__


def _patiently(method: Callable[..., Any], claim: Any, settle: Callable[..., Any] | None) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        began, pause, again, said = time.monotonic(), FIRST_S, False, False
        while True:
            try:
                return method(self, *args, **kwargs)
            except claim as why:
                if not again or settle is None:
                    raise
                return settle(self, why, *args, **kwargs)
            except OUTAGES as why:
                if not passing(why) or time.monotonic() + pause > began + self.patience_s:
                    raise
                if not said and time.monotonic() > began + LOUD_S:
                    log.warning("the database does not answer (%s): trying again for %g s", first_line(why), self.patience_s)
                    said = True
            time.sleep(pause)
            pause, again = min(2 * pause, LONGEST_S), True

    return call


def _created(storage: BaseStorage, why: Exception, directions: Sequence[Any], study_name: str | None = None) -> int:
    if study_name is None:
        raise why
    return storage.get_study_id_from_name(study_name)


def _deleted(storage: BaseStorage, why: Exception, study_id: int) -> None:
    """It is gone, whoever did it."""


def _ended(
    storage: BaseStorage, why: Exception, trial_id: int, state: TrialState, values: Sequence[float] | None = None
) -> bool:
    stored = storage.get_trial(trial_id)
    if stored.state != state or state == TrialState.FAIL or list(stored.values or ()) != list(values or ()):
        raise why
    return True


_SETTLED: dict[str, tuple[Any, Callable[..., Any]]] = {
    "create_new_study": (DuplicatedStudyError, _created),
    "delete_study": (KeyError, _deleted),
    "set_trial_state_values": (UpdateFinishedTrialError, _ended),
}
