"""Record the work that a GPU is given, once, and replay it: the host launches one graph instead of thousands of kernels."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

import torch

from model.memory import out_of_memory

T = TypeVar("T")


class NotRecordedError(RuntimeError):
    """An update that runs eagerly could not be recorded as a graph."""


class Recorder(Protocol):
    """Records work of one device, and replays it."""

    def apart(self) -> AbstractContextManager[None]:
        """Run the work inside after all work before it, and before all work that follows."""

    def record(self, run: Callable[[], T]) -> Callable[[], T]:
        """Record the work of `run` without doing it, and return what does it. Raises NotRecordedError, or OutOfMemoryError."""


class CudaRecorder:
    """Records CUDA graphs on a stream of its own, in one memory pool."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def apart(self) -> Iterator[None]:
        self.stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, run: Callable[[], T]) -> Callable[[], T]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self.device)
        results: list[T] = []
        failure: Exception | None = None
        try:
            # Only this thread's calls may not disturb the recording: another one waits for copies of a snapshot meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                try:
                    results.append(run())
                except RuntimeError as why:  # the end of a failed recording raises another error, which does not say why
                    failure = why.with_traceback(None)
        except RuntimeError as why:
            failure = failure or why.with_traceback(None)
        if failure is not None:
            torch.cuda.synchronize(self.device)  # raises where the device itself has failed
            try:
                if out_of_memory(failure):
                    raise failure
                raise NotRecordedError((str(failure).splitlines() or [type(failure).__name__])[0])
            finally:
                del failure  # its traceback holds this frame, and so the graphs whose memory is to be freed

        def replay() -> T:
            graph.replay()
            return results[0]

        return replay
