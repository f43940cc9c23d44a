"""Do work that may not fit into memory: recognise the lack, free what can be freed, then halve the work."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")
Relief = Callable[[], bool]  # frees memory that is not needed; False where nothing is left to free


def nothing_to_free() -> bool:
    """The relief of work beside which nothing else holds memory."""
    return False


def out_of_memory(why: BaseException) -> bool:
    """Return True for a lack of memory. PyTorch's allocator for GPUs has its own type of error, others only a message."""
    messages = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(why, torch.OutOfMemoryError | MemoryError) or any(message in str(why) for message in messages)


def free_cached(device: torch.device) -> None:
    """Return the memory that PyTorch keeps for reuse to a GPU: its pieces may be too small for the next attempt."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def in_parts(rows: Sequence[int], size: int, run: Callable[[list[int]], T], relief: Relief, device: torch.device) -> list[T]:
    """Return the results of `run` for consecutive parts of `rows`, at most `size` in each.

    Out of memory, a part is run again after `relief`, and where nothing is left to free as two halves, as are all after it.
    Raises the allocator's error if a single row does not fit.
    """
    results: list[T] = []
    done = 0
    while done < len(rows):
        part = list(rows[done : done + size])
        try:
            results.append(run(part))
            done += len(part)
            continue
        except (RuntimeError, MemoryError) as why:
            if not out_of_memory(why) or (len(part) == 1 and not relief()):
                raise
        # Here, after the exception and the tensors that its frames held are gone.
        if len(part) > 1 and not relief():
            size = -(-len(part) // 2)
        free_cached(device)
    return results
