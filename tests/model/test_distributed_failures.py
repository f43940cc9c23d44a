"""A failure of one rank is a failure of both: gradients that are not finite, lack of memory, unreadable files, a lost rank."""

import math
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import Training
from model.data.loading import Example
from model.distributed import Group
from model.errors import RankLost
from tests.conftest import tiny_config, toy_speech
from tests.model.ranks import CPU, PROCESSES, TIMEOUT_S, Ranks, assert_same_bits, set_environment, trainer
from tests.model.training import state_of
from tests.processes import free_port


def test_a_process_that_torchrun_did_not_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"RANK is missing: start with torchrun"):
        Group(CPU)


def broken_on_one(group: Group, broken: int) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Train three updates, in the second of which rank `broken` alone has a gradient that is not finite."""
    run = trainer(group, tiny_config())
    steps, states = run.steps(), []
    for number in range(3):
        hook = run.network.gate.bias.register_hook(
            lambda gradient, here=number == 1 and group.rank == broken: gradient * (math.nan if here else 1)
        )
        next(steps)
        hook.remove()
        states.append(state_of(run.update))
    return states, run.window.records


@pytest.mark.parametrize("broken", [0, 1])
def test_a_gradient_that_is_not_finite_on_one_rank_skips_the_step_on_both(broken: int, ranks: Ranks) -> None:
    (states, records), (others, copies) = ranks(broken_on_one, broken)
    assert_same_bits(states, others)
    torch.testing.assert_close(records, copies, rtol=0, atol=0, equal_nan=True)
    assert [bool(record.isfinite().all()) for record in records] == [True, False, True]
    assert_same_bits(states[1], states[0])
    assert any(not torch.equal(states[2][name], value) for name, value in states[1].items())


def with_little_memory(group: Group, where: int, most: int) -> tuple[str, int | None, list[int], dict[str, Tensor]]:
    """Train two updates while rank `where` has memory for `most` utterances."""
    run = trainer(group, replace(tiny_config(), training=Training(batch_size=8)), toy_speech(24))
    sizes: list[int] = []

    def forward(network: object, arguments: tuple[Any]) -> None:
        if group.rank == where and len(arguments[0].ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(arguments[0].ids))

    run.network.register_forward_pre_hook(forward)
    steps = run.steps()
    try:
        next(steps), next(steps)
    except torch.OutOfMemoryError as why:
        return str(why), run.cursor.part, sizes, state_of(run.update)
    return "", run.cursor.part, sizes, state_of(run.update)


def test_if_one_rank_lacks_memory_both_halve_the_batch(ranks: Ranks) -> None:
    (_, part, _, tensors), (_, other, sizes, copies) = ranks(with_little_memory, 1, 2)
    assert part == other == 4
    assert sizes == [2] * 4
    assert_same_bits(tensors, copies)


def test_a_single_utterance_that_does_not_fit_ends_the_training_on_both(ranks: Ranks) -> None:
    for why, part, _, _ in ranks(with_little_memory, 0, 0):
        assert why == "CUDA out of memory"
        assert part == 1


class UnreadableMel:
    """A mel whose file cannot be read on `rank`."""

    def __init__(self, mel: np.ndarray, rank: int) -> None:
        self.mel, self.rank = mel, rank

    def __len__(self) -> int:
        return len(self.mel)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mel.shape

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        if os.environ["RANK"] == str(self.rank):
            raise OSError(28, "No space left on device")
        return self.mel


def with_unreadable_mels(group: Group, train: int | None, validation: int | None) -> int | None:
    """Train while mels cannot be read on these ranks; return the number of the error that ends the training."""

    def unreadable_on(rank: int | None, examples: Sequence[Example]) -> Sequence[Example]:
        return examples if rank is None else [Example(e.ids, UnreadableMel(e.mel, rank)) for e in examples]  # type: ignore[arg-type]

    good = toy_speech()
    speech = replace(good, train=unreadable_on(train, good.train), validation=unreadable_on(validation, good.validation))
    try:
        return len(list(trainer(group, tiny_config(), speech).reports()))
    except OSError as why:
        return why.errno


def test_an_exception_of_one_rank_is_raised_on_both(ranks: Ranks) -> None:
    assert ranks(with_unreadable_mels, 1, None) == [28, 28]
    assert ranks(with_unreadable_mels, None, 0) == [28, 28]
    assert ranks(with_unreadable_mels, None, 1) == [4, 4], "rank 0 alone validates"


def _left_then_killed(rank: int, ports: tuple[int, int], results: Connection) -> None:
    """Leave a first group with an exception on rank 1, whose process continues; kill rank 0 in a second group."""
    set_environment(rank, ports[0])
    try:
        with Group(CPU, TIMEOUT_S) as group:
            began = time.monotonic()
            if rank == 1:
                raise KeyError
            group.agree(None)
    except (KeyError, RankLost) as why:
        results.send((type(why).__name__, str(why), time.monotonic() - began))
    set_environment(rank, ports[1])
    with Group(CPU, TIMEOUT_S) as group:
        group.agree(None)
        began = time.monotonic()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            trainer(group, tiny_config())
            group.agree(None)
        except RankLost as why:
            results.send((type(why).__name__, str(why), time.monotonic() - began))


def test_a_rank_that_leaves_or_is_killed_ends_the_others() -> None:
    pipes, ports = [PROCESSES.Pipe() for _ in range(2)], (free_port(), free_port())
    processes = [PROCESSES.Process(target=_left_then_killed, args=(rank, ports, pipes[rank][1])) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_S)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL, 0]
    results = [[pipes[rank][0].recv() for _ in range(1 + rank)] for rank in range(2)]
    assert [name for name, _, _ in results[0]] == ["RankLost"]
    assert [name for name, _, _ in results[1]] == ["KeyError", "RankLost"]
    assert max(seconds for _, _, seconds in [*results[0], *results[1]]) < 10
    assert results[1][1][1] == (
        "rank 1 of 2 lost the connection to the others: one of them ended, or did not answer for 60 s; "
        "see its last output, and start all of them again"
    )
