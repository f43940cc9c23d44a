"""One trial on several processes, a GPU each: torchrun starts them, rank 0 decides, the others follow.

Each rank builds the same network and draws the same batches, computes the gradients of its share, and takes the same step with
the sum of all gradients: weights and moments stay alike to the last bit, and nothing but sums of gradients has to travel.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from model.data.batching import shares
from model.data.loading import Loader
from model.layers import MaskedBatchNorm
from model.loss import Counts
from model.tacotron2 import Outputs
from model.train_step import Update

T = TypeVar("T")
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankLost(RuntimeError):
    """Another rank ended, or kept silent too long: this one cannot go on."""


class Group:
    """The ranks that train one network. A context manager: whoever leaves it ends it for all.

    All ranks must make the same calls in the same order. A call raises RankLost at once where another rank ended or left, and
    after `timeout_s` where one hangs: it must exceed what rank 0 ever lets the others wait, for a validation or a slow disk.
    Control messages go through gloo, so that they never wait for what a GPU still has to do.
    """

    def __init__(self, device: torch.device, timeout_s: float = 1_800.0) -> None:
        """Join, on the `device` of this rank. ValueError where torchrun did not start the process."""
        missing = [name for name in _TORCHRUN if name not in os.environ]
        if missing:
            raise ValueError(f"need {', '.join(_TORCHRUN)} in the environment, {missing[0]} is missing: start with torchrun")
        patience = timedelta(seconds=timeout_s)
        self.timeout_s = timeout_s
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
        # Rank 0 may wait for hours, for a database or for the last trials of others; one that ended is noticed at once.
        self.control = dist.new_group(backend="gloo", timeout=timedelta(days=30))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def agree(self, value: T) -> T:
        """Rank 0's `value` on every rank."""
        held = [value]
        with self._listening():
            dist.broadcast_object_list(held, src=0, group=self.control, device=torch.device("cpu"))
        return held[0]

    def gathered(self, values: list[T]) -> list[T]:
        """The values of all ranks end to end, on every rank."""
        held: list[Any] = [None] * self.size
        with self._listening():
            dist.all_gather_object(held, values, group=self.control)
        return [value for part in held for value in part]

    def first(self, call: Callable[[], T]) -> T:
        """What `call` gives on rank 0, on every rank; the others wait."""
        answer: Any = None
        with self.together():
            if self.rank == 0:
                answer = call()
        agreed: T = self.agree(answer)
        return agreed

    @contextmanager
    def together(self) -> Iterator[None]:
        """What one rank raises in here, all raise: none goes on alone, and none waits for one that does not come."""
        try:
            yield
        except Exception as why:  # whatever one rank raises, the others must not wait for it
            self._faults([why])
            raise
        for fault in self._faults([]):
            raise fault

    def add(self, flat: Tensor) -> None:
        """In place, the sum over all ranks, with the same bits on each."""
        with self._listening():
            dist.all_reduce(flat)

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and dist.group.WORLD is not None:
            dist.group.WORLD.abort()  # or NCCL would wait for those that no longer come
        del self.control  # its sockets close with the last name for it
        dist.destroy_process_group()

    def _faults(self, mine: list[Exception]) -> list[Exception]:
        some = torch.tensor(len(mine))
        with self._listening():
            dist.all_reduce(some, group=self.control)
        return self.gathered(mine) if some else []

    @contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as why:
            raise RankLost(
                f"rank {self.rank} of {self.size} no longer hears the others: one of them ended, or was silent for "
                f"{self.timeout_s:g} s; see what it said last, and start them all again"
            ) from why.with_traceback(None)  # whose frames know the sockets, which must close


class Shared:
    """`Update` on batches that are dealt out over the ranks of a group.

    Batch norm normalises each rank's share by itself, as it does with the parts of a batch; the running statistics are the mean
    of those of the ranks that had a share.
    """

    def __init__(self, update: Update, loader: Loader, group: Group, seed: int) -> None:
        self.update, self.loader, self.group, self.seed = update, loader, group, seed
        norms = [module for module in update.network.modules() if isinstance(module, MaskedBatchNorm)]
        self.statistics = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]

    def __call__(self, parts: Sequence[list[int]], number: int) -> tuple[Tensor, list[Outputs]]:
        """Indices of a batch, whole or in parts -> its record, and what the network said about this rank's share.

        `number` counts the updates. Dropout follows from it, the seed and the rank, so that a snapshot needs no generator of
        each rank.
        """
        stream = np.random.SeedSequence([self.seed, self.group.rank, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(stream[0]))
        dealt = (shares(part, self.loader.frames, self.group.size)[self.group.rank] for part in parts)
        mine = [share for share in dealt if share]
        parameters = list(self.update.network.parameters())
        with self.group.together():
            counts = self._counts([index for part in parts for index in part])
            sums, said, before = self.update.gradients([self.loader(share) for share in mine], counts)
            gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
            tensors = [sums, *gradients, *(value * bool(mine) for value in self.statistics)]
            flat = torch.cat([tensor.flatten() for tensor in tensors])
        self.group.add(flat)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        sums, *added = (piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True))
        for parameter, gradient in zip(parameters, added, strict=False):
            parameter.grad = gradient
        having = min(self.group.size, max(map(len, parts)))  # ranks with a share
        for value, total in zip(self.statistics, added[len(parameters) :], strict=True):
            value.copy_(total / having)
        return self.update.step(sums, before), said

    def _counts(self, indices: list[int]) -> Counts:
        """Of the whole batch, so that the ranks' terms and gradients add up to its."""
        lengths, r = self.loader.frames[indices], self.update.config.network.reduction
        sizes = torch.tensor([lengths.sum(), (-(-lengths // r)).sum()])
        return Counts(*sizes.to(self.update.device, non_blocking=True).unbind())
