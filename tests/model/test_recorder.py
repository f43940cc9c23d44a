"""A recording that fails leaves nothing behind that would keep the memory of the graphs."""

import gc
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from model.recorder import CudaRecorder, NotRecordedError


class Held:
    """Stands for the graphs, which the caller of a recording holds."""


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> CudaRecorder:
    def graph(*arguments: object, capture_error_mode: str, **named: object) -> AbstractContextManager[None]:
        assert capture_error_mode == "thread_local", "another thread may wait for copies of a snapshot meanwhile"
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(CudaRecorder, "__init__", lambda self: self.__dict__.update(device=None, stream=None, pool=None))
    return CudaRecorder()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(torch.OutOfMemoryError("out of memory"), torch.OutOfMemoryError), (RuntimeError("not permitted"), NotRecordedError)],
)
def test_a_failed_recording_is_garbage_at_once(emulated: CudaRecorder, failure: Exception, raised: type[Exception]) -> None:
    held = Held()
    alive = weakref.ref(held)

    def run(held: Held = held) -> None:
        raise type(failure)(*failure.args)

    def attempt(run: Callable[[], None]) -> None:
        with pytest.raises(raised):
            emulated.record(run)

    gc.disable()
    try:
        attempt(run)
        del run, held
        assert alive() is None
    finally:
        gc.enable()
