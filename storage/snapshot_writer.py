"""Write snapshots in a thread while the training continues, at most one behind, for a bounded share of the time."""

import errno
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
from optuna.exceptions import UpdateFinishedTrialError
from torch import Tensor

SHARE = 0.05  # of the time is spent writing, at most: after a snapshot that took a second none is due for 19


class SnapshotWriter:
    """A context manager: on leaving it, all that was handed over is written."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.thread = ThreadPoolExecutor(1, "snapshots")
        self.pending: Future[None] | None = None
        self.seconds, self.ended = 0.0, -float("inf")  # that the last one took, and when it was written

    def due(self) -> bool:
        """Return True if the last snapshot is written and enough time has passed. Raises what its writing failed with."""
        if self.pending is not None and not self.pending.done():
            return False
        self.wait()
        return self.clock() - self.ended >= self.seconds * (1 / SHARE - 1)

    def write(self, job: Callable[[], None]) -> None:
        """Run `job` in the thread, after the one before. Raises what that one failed with."""
        self.wait()
        self.pending = self.thread.submit(self._timed, job)

    def wait(self) -> None:
        """Wait until all is written. Raises what the writing failed with; a lack of memory as an OSError, the machine's."""
        pending, self.pending = self.pending, None
        try:
            if pending is not None:
                pending.result()
        except MemoryError as why:  # else the trial's configuration would be blamed
            raise OSError(errno.ENOMEM, "not enough memory to write a snapshot") from why

    def _timed(self, job: Callable[[], None]) -> None:
        began = self.clock()
        job()
        self.ended = self.clock()
        self.seconds = self.ended - began

    def __enter__(self) -> "SnapshotWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        except OSError as failure:
            if not isinstance(why, UpdateFinishedTrialError):  # a trial that was ended from outside needs no snapshot
                raise
            why.add_note(f"and its snapshot could not be written: {failure}")
        finally:
            self.thread.shutdown()


def held(values: Any) -> Callable[[], Any]:
    """Copy the tensors in `values` (dictionaries, lists, tuples) to the host, and return what waits for the copies.

    Those of a GPU are copied into pinned memory while it continues to work; only the caller of the result waits for them.
    """
    copies = _copied(values)
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return lambda: copies
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()

    def arrived() -> Any:
        event.synchronize()
        return copies

    return arrived


def _copied(values: Any) -> Any:
    if isinstance(values, Tensor):
        target = torch.empty_like(values, device="cpu", pin_memory=values.is_cuda)
        return target.copy_(values.detach(), non_blocking=True)
    if isinstance(values, dict):
        return {name: _copied(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_copied(value) for value in values)
    return values
