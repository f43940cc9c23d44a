"""Snapshots are written in a thread: in order, at most one behind, for a bounded share of the time, and failures surface."""

import threading
from collections.abc import Callable

import pytest
import torch

from storage.snapshot_writer import SHARE, SnapshotWriter, held


def fail() -> None:
    raise OSError(28, "No space left on device")


def test_the_training_continues_while_one_is_written_and_waits_for_it_before_the_next() -> None:
    order, gate = list[str](), threading.Event()

    def slow() -> None:
        gate.wait(10)
        order.append("first")

    with SnapshotWriter() as writer:
        assert writer.due()
        writer.write(slow)
        assert not writer.due()
        order.append("training")
        gate.set()
        writer.write(lambda: order.append("second"))
    assert order == ["training", "first", "second"]


def test_writing_takes_at_most_its_share_of_the_time() -> None:
    now = [0.0]

    def takes_two_seconds() -> None:
        now[0] += 2.0

    with SnapshotWriter(lambda: now[0]) as writer:
        spent = 0
        for _ in range(1_000):  # a report each second
            if writer.due():
                writer.write(takes_two_seconds)
                writer.wait()
                spent += 2
            now[0] += 1.0
        assert spent == pytest.approx(SHARE * now[0], rel=0.1)


@pytest.mark.parametrize("next_step", [SnapshotWriter.due, SnapshotWriter.wait, lambda writer: writer.write(print)])
def test_a_failure_is_raised_at_the_next_step(next_step: Callable[[SnapshotWriter], object]) -> None:
    with SnapshotWriter() as writer:
        writer.write(fail)
        assert writer.pending is not None
        writer.pending.exception()  # waits
        with pytest.raises(OSError, match="No space left"):
            next_step(writer)


def test_a_failure_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="No space left"), SnapshotWriter() as writer:
        writer.write(fail)


def test_held_tensors_keep_their_values() -> None:
    tensor = torch.ones(3)
    copies = held({"weights": {"a": tensor}, "more": [tensor, 7, None], "pair": (tensor,)})
    tensor.zero_()
    assert copies()["weights"]["a"].tolist() == [1, 1, 1]
    assert copies()["more"][1:] == [7, None]
    assert copies()["pair"][0].tolist() == [1, 1, 1]


def test_a_lack_of_memory_while_writing_is_the_machines() -> None:
    def fail_for_memory() -> None:
        raise MemoryError

    with SnapshotWriter() as writer:
        writer.write(fail_for_memory)
        with pytest.raises(OSError, match="not enough memory to write a snapshot"):
            writer.wait()
