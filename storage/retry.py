"""Retry storage operations while the database is unreachable, locked or restarting.

When the answer to an operation is lost, the operation may or may not have taken effect. So each one must be safe to repeat:
- Reads, and writes of a report, an attribute or a parameter, have the same effect again. An existing parameter is kept.
- `create_new_trial` may leave a RUNNING trial without an owner, which the leases (storage/leases.py) release, or the same
  WAITING configuration twice, which costs one trial and does no harm.
- WAITING -> RUNNING answers "taken" the second time, because the trial's taker cannot be distinguished from this process: a
  trial without an owner is better than a trial with two.
- `create_new_study` finds its name taken, `delete_study` finds no study, COMPLETE or PRUNED finds the trial finished. Where the
  stored state is the one that was to be written, the first attempt wrote it, and there is no error. FAIL is the exception: it
  looks the same whichever process wrote it, and it decides which of two workers releases a trial. So it stays an error: at
  worst both workers believe that the other one released the trial, and it is retried all the same.
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

OPENING_SECONDS = 5  # to wait for a server when a storage is opened
FIRST_S, LONGEST_S = 0.1, 5.0  # pauses between attempts, doubling from the first to the longest
WARN_S = 0.5  # of failing before a warning: two programs that write at the same moment need none
OUTAGES = (
    StorageInternalError,
    SQLAlchemyError,
    sqlite3.Error,
    grpc.RpcError,
)  # some of which are transient, see `is_transient`
TRANSIENT_STATES = ("08", "40", "57P", "53300", "55P03")  # PostgreSQL: connection, deadlock, shutdown, too many clients, locked
TRANSIENT_MESSAGES = (
    "starting up",
    "shutting down",
    "recovery",
    "accepting connections",
    "too many clients",
    "slots are reserved",
)

log = logging.getLogger(__name__)
Storage = TypeVar("Storage", bound=type[BaseStorage])


def retrying(storage: Storage) -> Storage:
    """Decorate a storage class: its operations are retried for `retry_s` seconds, an attribute that may change at any time."""
    for name, method in inspect.getmembers(storage, inspect.isfunction):
        if name.startswith(("get_", "set_", "create_", "delete_")):
            setattr(storage, name, _retried(method, *_REPEATED.get(name, ((), None))))
    return storage


def is_transient(why: BaseException) -> bool:
    """Return whether a failure may end by itself: connection lost or refused, server restarting, locked.

    A wrong password or a missing table is not transient.
    """
    if isinstance(why, grpc.RpcError):
        return bool(why.code() == grpc.StatusCode.UNAVAILABLE)
    if isinstance(why, StorageInternalError) and why.__cause__:
        why = why.__cause__
    if isinstance(why, PendingRollbackError):  # the connection broke during a transaction, and Optuna repeated the query
        return True
    driver = origin(why)
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if not isinstance(why, OperationalError):
        return False
    if state := getattr(driver, "sqlstate", None):
        return str(state).startswith(TRANSIENT_STATES)
    message = str(driver)  # without a connection there is no state, only a message; it holds FATAL where the server refused
    return "FATAL" not in message or any(part in message for part in TRANSIENT_MESSAGES)


def origin(why: BaseException) -> BaseException:
    """Return the driver's own error behind those of Optuna and SQLAlchemy."""
    cause = why.__cause__ if isinstance(why, StorageInternalError) and why.__cause__ else why
    return getattr(cause, "orig", None) or cause


def first_line(why: BaseException) -> str:
    """Return the first line of the driver's error message."""
    driver = origin(why)
    text = str(driver.details() if isinstance(driver, grpc.RpcError) else driver).strip()
    return text.splitlines()[0] if text else type(driver).__name__


def _retried(method: Callable[..., Any], conflict: Any, resolve_conflict: Callable[..., Any] | None) -> Callable[..., Any]:
    """Wrap an operation. `resolve_conflict` handles an error of type `conflict` that follows an attempt with a lost answer."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        began, pause, repeated, warned = time.monotonic(), FIRST_S, False, False
        while True:
            try:
                return method(self, *args, **kwargs)
            except conflict as why:
                if not repeated or resolve_conflict is None:
                    raise
                return resolve_conflict(self, why, *args, **kwargs)
            except OUTAGES as why:
                if not is_transient(why) or time.monotonic() + pause > began + self.retry_s:
                    raise
                if not warned and time.monotonic() > began + WARN_S:
                    log.warning("the database does not answer (%s): retrying for %g s", first_line(why), self.retry_s)
                    warned = True
            time.sleep(pause)
            pause, repeated = min(2 * pause, LONGEST_S), True

    return call


def _created(storage: BaseStorage, why: Exception, directions: Sequence[Any], study_name: str | None = None) -> int:
    if study_name is None:
        raise why
    return storage.get_study_id_from_name(study_name)


def _deleted(storage: BaseStorage, why: Exception, study_id: int) -> None:
    """Accept that the study is gone: deleting it was the aim."""


def _ended(
    storage: BaseStorage, why: Exception, trial_id: int, state: TrialState, values: Sequence[float] | None = None
) -> bool:
    stored = storage.get_trial(trial_id)
    if stored.state != state or state == TrialState.FAIL or list(stored.values or ()) != list(values or ()):
        raise why
    return True


# Operations that report a conflict when they are repeated: the exception, and what decides whether it is an error.
_REPEATED: dict[str, tuple[Any, Callable[..., Any]]] = {
    "create_new_study": (DuplicatedStudyError, _created),
    "delete_study": (KeyError, _deleted),
    "set_trial_state_values": (UpdateFinishedTrialError, _ended),
}
