"""Two real processes in a group, which run the laws of the distributed tests."""

import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, multiprocessing

from model.config import Config
from model.distributed import Group
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Speech, Trainer
from tests.conftest import tiny_config, toy_speech, without_dropout
from tests.model.training import state_of, timeless
from tests.processes import free_port

CPU = torch.device("cpu")
WITHOUT_DROPOUT = replace(tiny_config(), network=without_dropout())
TIMEOUT_S = 60  # reached only by a test that fails
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])  # torch is imported once, for all processes of all tests


class Ranks:
    """Two processes in a group. Calling it with a law runs law(group, *arguments) on both and returns both results."""

    def __init__(self) -> None:
        pairs = [PROCESSES.Pipe() for _ in range(2)]
        port = free_port()
        self.ends = [here for here, _ in pairs]
        self.processes = [PROCESSES.Process(target=_serve, args=(rank, port, there)) for rank, (_, there) in enumerate(pairs)]
        for process, (_, there) in zip(self.processes, pairs, strict=True):
            process.start()
            there.close()

    def __call__(self, law: Callable[..., Any], *arguments: Any) -> list[Any]:
        for end in self.ends:
            end.send_bytes(pickle.dumps((law, arguments)))
        return [self.result(rank) for rank in range(2)]

    def result(self, rank: int) -> Any:
        assert self.ends[rank].poll(TIMEOUT_S), f"rank {rank} hangs"
        result, error = pickle.loads(self.ends[rank].recv_bytes())
        assert error is None, f"on rank {rank}: {error}"
        return result

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for process in self.processes:
            process.join(TIMEOUT_S)
            process.kill()
        assert [process.exitcode for process in self.processes] == [0, 0]


def _serve(rank: int, port: int, requests: Connection) -> None:
    torch.set_num_threads(1)
    set_environment(rank, port)
    with Group(CPU, timeout_s=TIMEOUT_S) as group:
        while True:
            try:
                law, arguments = pickle.loads(requests.recv_bytes())
            except EOFError:
                return
            try:
                requests.send_bytes(pickle.dumps((law(group, *arguments), None)))
            except Exception:
                requests.send_bytes(pickle.dumps((None, traceback.format_exc())))
                raise


def set_environment(rank: int, port: int) -> None:
    """Set the variables that torchrun sets."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def trainer(
    group: Group | None, config: Config, speech: Speech | None = None, kframes: float = 1, start: Snapshot | None = None
) -> Trainer:
    return Trainer(config, speech or toy_speech(), kframes, 4, CPU, seed=5, start=start, group=group)


def trained(
    group: Group, config: Config, speech: Speech | None = None, kframes: float = 1
) -> tuple[list[Report], dict[str, Tensor]]:
    """Train to the end; return the reports and the final state."""
    run = trainer(group, config, speech, kframes)
    return timeless(list(run.reports())), state_of(run.update)


def assert_same_bits(ours: object, theirs: object) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
