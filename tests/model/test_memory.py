"""Where memory is short, work is done in parts, and what is left over is freed before anything is blamed."""

import pytest
import torch

from model.memory import in_parts, nothing_to_free, out_of_memory

CPU = torch.device("cpu")


class Machine:
    """Memory for parts of `most` rows, or of twice as many once `freed`."""

    def __init__(self, most: int) -> None:
        self.most, self.freed, self.sizes = most, False, list[int]()

    def run(self, rows: list[int]) -> list[int]:
        if len(rows) > self.most * (2 if self.freed else 1):
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append(len(rows))
        return rows

    def relief(self) -> bool:
        before, self.freed = self.freed, True
        return not before


@pytest.mark.parametrize(("frees", "sizes"), [(False, [2, 2, 2, 2, 1]), (True, [4, 4, 1])])
def test_memory_is_freed_first_and_then_the_work_is_halved(frees: bool, sizes: list[int]) -> None:
    machine = Machine(most=2)
    parts = in_parts(range(9), 4, machine.run, machine.relief if frees else nothing_to_free, CPU)
    assert [row for part in parts for row in part] == list(range(9))
    assert machine.sizes == sizes


def test_a_row_that_does_not_fit_by_itself_is_an_error_after_all_was_freed() -> None:
    machine = Machine(most=0)
    with pytest.raises(torch.OutOfMemoryError):
        in_parts(range(3), 2, machine.run, machine.relief, CPU)
    assert machine.freed


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def fail(rows: list[int]) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        in_parts(range(3), 2, fail, nothing_to_free, CPU)
    assert not out_of_memory(RuntimeError("shape mismatch"))
    assert out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
