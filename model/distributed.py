"""Train one network in several processes with a GPU each: torchrun starts them, rank 0 decides, the others follow.

Each rank builds the same network and draws the same batches, computes the gradients of its share, and takes the same step with
the sum of all gradients. Weights and moments stay identical to the last bit, and only sums of gradients are communicated.
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
from model.errors import RankLost
from model.layers import MaskedBatchNorm
from model.loss import Counts
from model.tacotron2 import Outputs
from model.train_step import Update

T = TypeVar("T")
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Group:
    """The ranks that train one network. A context manager: a rank that leaves it ends the group for all.

    All ranks must make the same calls in the same order. A call raises RankLost immediately if another rank ended or left, and
    after `timeout_s` if one hangs. The timeout must exceed the longest time for which rank 0 lets the others wait, such as a
    validation or a slow disk. Control messages use gloo, so that they never wait for pending work of a GPU.
    """

    def __init__(self, device: torch.device, timeout_s: float = 1_800.0) -> None:
        """Join the group, on the `device` of this rank. Raises ValueError if torchrun did not start the process."""
        missing = [name for name in _TORCHRUN if name not in os.environ]
        if missing:
            raise ValueError(f"need {', '.join(_TORCHRUN)} in the environment, {missing[0]} is missing: start with torchrun")
        timeout = timedelta(seconds=timeout_s)
        self.timeout_s = timeout_s
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
        # Rank 0 may wait for hours, for a database or for other workers' last trials; a rank that ended is noticed immediately.
        self.control = dist.new_group(backend="gloo", timeout=timedelta(days=30))
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def agree(self, value: T) -> T:
        """Return rank 0's `value` on every rank."""
        held = [value]
        with self._listening():
            dist.broadcast_object_list(held, src=0, group=self.control, device=torch.device("cpu"))
        return held[0]

    def gather(self, values: list[T]) -> list[T]:
        """Return the concatenated values of all ranks, on every rank."""
        held: list[Any] = [None] * self.size
        with self._listening():
            dist.all_gather_object(held, values, group=self.control)
        return [value for part in held for value in part]

    def on_rank_0(self, call: Callable[[], T]) -> T:
        """Run `call` on rank 0 while the others wait, and return its result on every rank."""
        result: Any = None
        with self.together():
            if self.rank == 0:
                result = call()
        agreed: T = self.agree(result)
        return agreed

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise an exception of one rank in this block on all ranks: none continues alone or waits for one that has failed."""
        try:
            yield
        except Exception as why:  # whatever one rank raises, the others must not wait for it
            self._exceptions([why])
            raise
        for exception in self._exceptions([]):
            raise exception

    def add(self, flat: Tensor) -> None:
        """Add up `flat` over all ranks, in place, with the same bits on each."""
        with self._listening():
            dist.all_reduce(flat)

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and dist.group.WORLD is not None:
            dist.group.WORLD.abort()  # otherwise NCCL would wait for ranks that have left
        del self.control  # its sockets close with its last reference
        dist.destroy_process_group()

    def _exceptions(self, own: list[Exception]) -> list[Exception]:
        """Return the exceptions of all ranks. Without any, this costs one small message."""
        count = torch.tensor(len(own))
        with self._listening():
            dist.all_reduce(count, group=self.control)
        return self.gather(own) if count else []

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Turn a failed communication into RankLost."""
        try:
            yield
        except RuntimeError as why:
            raise RankLost(
                f"rank {self.rank} of {self.size} lost the connection to the others: one of them ended, or did not answer for "
                f"{self.timeout_s:g} s; see its last output, and start all of them again"
            ) from why.with_traceback(None)  # its frames refer to the sockets, which must close


class DistributedUpdate:
    """Runs `Update` on batches that are divided among the ranks of a group.

    Batch norm normalises each rank's share separately, like the parts of a batch; the running statistics are the mean of those
    of the ranks that had a share.
    """

    def __init__(self, update: Update, loader: Loader, group: Group, seed: int) -> None:
        self.update, self.loader, self.group, self.seed = update, loader, group, seed
        norms = [module for module in update.network.modules() if isinstance(module, MaskedBatchNorm)]
        self.statistics = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]

    def __call__(self, parts: Sequence[list[int]], number: int) -> tuple[Tensor, list[Outputs]]:
        """Train on a batch of indices, in one part or several. Return its record, and the outputs for this rank's share.

        `number` counts the updates. Dropout follows from it, the seed and the rank, so that a snapshot needs no generator state
        of each rank.
        """
        stream = np.random.SeedSequence([self.seed, self.group.rank, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(stream[0]))
        own = (shares(part, self.loader.frames, self.group.size)[self.group.rank] for part in parts)
        own_shares = [share for share in own if share]
        parameters = list(self.update.network.parameters())
        with self.group.together():
            counts = self._counts([index for part in parts for index in part])
            sums, outputs, before = self.update.gradients([self.loader(share) for share in own_shares], counts)
            gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
            tensors = [sums, *gradients, *(value * bool(own_shares) for value in self.statistics)]
            flat = torch.cat([tensor.flatten() for tensor in tensors])
        self.group.add(flat)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        sums, *added = (piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True))
        for parameter, gradient in zip(parameters, added, strict=False):
            parameter.grad = gradient
        ranks_with_share = min(self.group.size, max(map(len, parts)))
        for value, total in zip(self.statistics, added[len(parameters) :], strict=True):
            value.copy_(total / ranks_with_share)
        return self.update.step(sums, before), outputs

    def _counts(self, indices: list[int]) -> Counts:
        """Count the frames and steps of the complete batch, so that the terms and gradients of the ranks add up."""
        lengths, r = self.loader.frames[indices], self.update.config.network.reduction
        sizes = torch.tensor([lengths.sum(), (-(-lengths // r)).sum()])
        return Counts(*sizes.to(self.update.device, non_blocking=True).unbind())
