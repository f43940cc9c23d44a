"""One trial on several ranks: two real processes are one, whatever befalls either."""

import copy
import math
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, multiprocessing

from model.config import Config, Training
from model.data.batching import shares
from model.data.loading import Example
from model.distributed import Group
from model.errors import RankLost
from model.layers import MaskedBatchNorm
from model.report import Report
from model.snapshot import Snapshot
from model.trainer import Speech, Trainer
from tests.conftest import tiny_config, toy_examples, toy_speech, without_dropout
from tests.processes import free_port

CPU = torch.device("cpu")
STILL = replace(tiny_config(), network=without_dropout())
PATIENCE_S = 60  # of a test that went wrong


class Ranks:
    """Two processes in a group. A law is called as law(group, *arguments) on both -> what it gives on rank 0 and on rank 1."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(2)]
        port = free_port()
        self.ends = [here for here, _ in pairs]
        self.processes = [context.Process(target=_serve, args=(rank, port, there)) for rank, (_, there) in enumerate(pairs)]
        for process, (_, there) in zip(self.processes, pairs, strict=True):
            process.start()
            there.close()

    def __call__(self, law: Callable[..., Any], *arguments: Any) -> list[Any]:
        for end in self.ends:
            end.send_bytes(pickle.dumps((law, arguments)))
        return [self.answer(rank) for rank in range(2)]

    def answer(self, rank: int) -> Any:
        assert self.ends[rank].poll(PATIENCE_S), f"rank {rank} hangs"
        answer, fault = pickle.loads(self.ends[rank].recv_bytes())
        assert fault is None, f"on rank {rank}: {fault}"
        return answer

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for process in self.processes:
            process.join(PATIENCE_S)
            process.kill()
        assert [process.exitcode for process in self.processes] == [0, 0]


def _serve(rank: int, port: int, asked: Connection) -> None:
    torch.set_num_threads(1)
    join_at(rank, port)
    with Group(CPU, timeout_s=PATIENCE_S) as group:
        while True:
            try:
                law, arguments = pickle.loads(asked.recv_bytes())
            except EOFError:
                return
            try:
                asked.send_bytes(pickle.dumps((law(group, *arguments), None)))
            except Exception:
                asked.send_bytes(pickle.dumps((None, traceback.format_exc())))
                raise


def join_at(rank: int, port: int) -> None:
    """What torchrun says to a process."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.close()


def trainer(
    group: Group | None, config: Config, speech: Speech | None = None, kframes: float = 1, start: Snapshot | None = None
) -> Trainer:
    return Trainer(config, speech or toy_speech(), kframes, 4, CPU, seed=5, start=start, group=group)


def state(run: Trainer) -> dict[str, Tensor]:
    """Weights, running statistics, moments."""
    moments = run.update.optimiser.state_dict()["state"]
    held = {f"{index} {name}": value for index, values in moments.items() for name, value in values.items()}
    return {name: value.clone() for name, value in (dict(run.network.state_dict()) | held).items()}


def trained(group: Group, config: Config, speech: Speech | None = None) -> tuple[list[Report], dict[str, Tensor]]:
    run = trainer(group, config, speech)
    return timeless(list(run.reports())), state(run)


def timeless(reports: list[Report]) -> list[Report]:
    return [replace(report, seconds=0.0) for report in reports]


def exactly(ours: object, theirs: object) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def closely(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def without_statistics(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if "running" not in name}


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(1, 8))
def test_shares_are_the_batch_and_nearly_equal(lengths: list[int], count: int) -> None:
    batch = list(range(len(lengths)))[::-1]
    dealt = shares(batch, np.array(lengths), count)
    assert sorted(index for share in dealt for index in share) == sorted(batch)
    assert [bool(share) for share in dealt] == [rank < len(batch) for rank in range(count)]
    frames = [sum(lengths[index] for index in share) for share in dealt]
    fullest = dealt[frames.index(max(frames))]
    assert max(frames) - min(frames) <= min(lengths[index] for index in fullest)


def test_a_process_that_torchrun_did_not_start_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"RANK is missing: start with torchrun"):
        Group(CPU)


def test_two_ranks_are_one_process(ranks: Ranks) -> None:
    """One that has each batch in the ranks' shares, so that batch norm sees the same utterances together."""
    one = trainer(None, STILL)
    one._step = lambda batch: one.update([one.train(share) for share in shares(batch, one.train.frames, 2)])  # type: ignore
    expected = list(one.reports())
    for reports, tensors in ranks(trained, STILL):
        closely(without_statistics(tensors), without_statistics(state(one)))
        for ours, theirs in zip(reports, expected, strict=True):
            assert (ours.kframes, ours.updates, ours.learning_rate) == (theirs.kframes, theirs.updates, theirs.learning_rate)
            for part in ("train", "gradients", "train_health"):
                measured, goal = asdict(getattr(ours, part)), asdict(getattr(theirs, part))
                assert measured == {name: value and pytest.approx(value, rel=1e-4) for name, value in goal.items()}


def statistics(group: Group) -> tuple[list[int], dict[str, Tensor]]:
    run = trainer(group, STILL)
    next(run.steps())
    return next(trainer(None, STILL).batches), run.network.state_dict()


def test_running_statistics_are_the_mean_of_the_ranks(ranks: Ranks) -> None:
    (batch, ours), (_, others) = ranks(statistics)
    exactly(ours, others)
    each = []
    for share in shares(batch, trainer(None, STILL).train.frames, 2):
        alone = trainer(None, STILL)
        alone.update([alone.train(share)])
        each.append(alone.network.state_dict())
    names = [name for name in ours if "running" in name]
    assert len(names) == 2 * sum(isinstance(module, MaskedBatchNorm) for module in alone.network.modules())
    for name in names:
        closely(ours[name], (each[0][name] + each[1][name]) / 2)
        assert not torch.equal(each[0][name], each[1][name])


@pytest.mark.parametrize("size", [1, 3])
def test_batches_that_leave_a_rank_without_a_share(size: int, ranks: Ranks) -> None:
    """A single utterance is one share, so that even batch norm is that of one process; of three, an epoch's last is single."""
    config = replace(STILL, training=Training(batch_size=size, learning_rate=3e-3))
    speech = toy_speech(train=7, validation=2)
    (reports, tensors), (others, copies) = ranks(trained, config, speech)
    assert reports == others
    exactly(tensors, copies)
    if size == 1:
        one = trainer(None, config, speech)
        for ours, theirs in zip(reports, one.reports(), strict=True):
            assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-4)
        closely(tensors, state(one))


def test_with_dropout_ranks_stay_alike_and_a_run_can_be_repeated(ranks: Ranks) -> None:
    (reports, tensors), (others, copies) = ranks(trained, tiny_config())
    assert len(reports) == 4
    assert reports == others
    exactly(tensors, copies)
    again, _ = ranks(trained, tiny_config())
    assert again[0] == reports


def said_of_twins(group: Group, config: Config) -> Tensor:
    """In two updates that move no weight, of batches of two, both of one utterance."""
    (example,) = toy_examples(1, 1)
    config = replace(config, training=Training(batch_size=2, learning_rate=1e-30))
    run = trainer(group, config, replace(toy_speech(), train=[example] * 2))
    said: list[Tensor] = []
    run.network.register_forward_hook(lambda network, batch, outputs: said.append(outputs.mel_before.detach()))
    steps = run.steps()
    next(steps), next(steps)
    return torch.stack(said)


def test_dropout_differs_between_ranks_and_updates(ranks: Ranks) -> None:
    for config, kinds in ((STILL, 1), (tiny_config(), 4)):
        said = torch.cat(ranks(said_of_twins, config))
        assert len({tuple(values.flatten().tolist()) for values in said}) == kinds


def broken_on_one(group: Group, broken: int) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Rank `broken` alone makes a gradient that is not finite, in the second update of three."""
    run = trainer(group, tiny_config())
    steps, states = run.steps(), []
    for number in range(3):
        hook = run.network.gate.bias.register_hook(
            lambda gradient, here=number == 1 and group.rank == broken: gradient * (math.nan if here else 1)
        )
        next(steps)
        hook.remove()
        states.append(state(run))
    return states, run.window.records


@pytest.mark.parametrize("broken", [0, 1])
def test_a_gradient_that_is_not_finite_on_one_rank_skips_the_step_on_both(broken: int, ranks: Ranks) -> None:
    (states, records), (others, copies) = ranks(broken_on_one, broken)
    exactly(states, others)
    torch.testing.assert_close(records, copies, rtol=0, atol=0, equal_nan=True)
    assert [bool(record.isfinite().all()) for record in records] == [True, False, True]
    exactly(states[1], states[0])
    assert any(not torch.equal(states[2][name], value) for name, value in states[1].items())


def stopped(group: Group, config: Config, at: int) -> tuple[list[Report], Snapshot]:
    """Trained until rank 0 decides to stop, after `at` updates."""
    run, reports = trainer(group, config), []
    for report in run.steps():
        reports += [report] if report is not None else []
        if group.agree(group.rank == 0 and run.cursor.updates == at):
            break
    return timeless(reports), copy.deepcopy(run.snapshot())


def resumed(group: Group, config: Config, snapshot: Snapshot) -> tuple[list[Report], dict[str, Tensor]]:
    torch.manual_seed(999 + group.rank)
    run = trainer(group, config, start=snapshot)
    return timeless(list(run.reports())), state(run)


def test_rank_0_stops_both_and_a_resume_from_its_snapshot_is_invisible(ranks: Ranks) -> None:
    at = 6  # between two reports
    base = tiny_config()
    config = replace(base, loss=replace(base.loss, guided_until=-1.0))  # what validation decides reaches the others
    straight = ranks(trained, config)
    (before, snapshot), (others, copied) = ranks(stopped, config, at)
    assert len(before) == len(others) == 1
    assert snapshot.cursor.updates == copied.cursor.updates == at
    for (reports, tensors), (expected, goal) in zip(ranks(resumed, config, snapshot), straight, strict=True):
        assert before + reports == expected
        exactly(tensors, goal)
    assert expected[0].guided_weight > expected[-1].guided_weight
    alone = trainer(None, config, start=snapshot)
    assert [report.kframes for report in alone.reports()] == [report.kframes for report in reports]


def scarce(group: Group, where: int, most: int) -> tuple[str, int | None, list[int], dict[str, Tensor]]:
    """Rank `where` has memory for `most` utterances."""
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
        return str(why), run.cursor.part, sizes, state(run)
    return "", run.cursor.part, sizes, state(run)


def test_where_one_rank_lacks_memory_both_halve(ranks: Ranks) -> None:
    (_, part, _, tensors), (_, other, sizes, copies) = ranks(scarce, 1, 2)
    assert part == other == 4
    assert sizes == [2] * 4
    exactly(tensors, copies)


def test_a_single_utterance_that_does_not_fit_ends_it_on_both(ranks: Ranks) -> None:
    for why, part, _, _ in ranks(scarce, 0, 0):
        assert why == "CUDA out of memory"
        assert part == 1


class Torn:
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


def torn(group: Group, train: int | None, validation: int | None) -> int | None:
    """Ranks on which mels cannot be read -> the number of the error that it ends with."""

    def torn_on(rank: int | None, examples: Sequence[Example]) -> Sequence[Example]:
        return examples if rank is None else [Example(e.ids, Torn(e.mel, rank)) for e in examples]  # type: ignore[arg-type]

    whole = toy_speech()
    speech = replace(whole, train=torn_on(train, whole.train), validation=torn_on(validation, whole.validation))
    try:
        return len(list(trainer(group, tiny_config(), speech).reports()))
    except OSError as why:
        return why.errno


def test_what_one_rank_raises_both_raise(ranks: Ranks) -> None:
    assert ranks(torn, 1, None) == [28, 28]
    assert ranks(torn, None, 0) == [28, 28]
    assert ranks(torn, None, 1) == [4, 4], "rank 0 alone validates"


def exchanged(group: Group) -> tuple[Any, list[int]]:
    return group.agree({"rank": group.rank, "of": [group.size]}), group.gather([group.rank] * (group.rank + 1))


def test_messages(ranks: Ranks) -> None:
    assert ranks(exchanged) == [({"rank": 0, "of": [2]}, [0, 1, 1])] * 2


def _left_then_killed(rank: int, ports: tuple[int, int], answers: Connection) -> None:
    """Rank 1 leaves a group with an exception, its process goes on; of a second group, rank 0 is killed."""
    join_at(rank, ports[0])
    try:
        with Group(CPU, PATIENCE_S) as group:
            began = time.monotonic()
            if rank == 1:
                raise KeyError
            group.agree(None)
    except (KeyError, RankLost) as why:
        answers.send((type(why).__name__, str(why), time.monotonic() - began))
    join_at(rank, ports[1])
    with Group(CPU, PATIENCE_S) as group:
        group.agree(None)
        began = time.monotonic()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            trainer(group, tiny_config())
            group.agree(None)
        except RankLost as why:
            answers.send((type(why).__name__, str(why), time.monotonic() - began))


def test_a_rank_that_leaves_or_is_killed_ends_the_others() -> None:
    context = multiprocessing.get_context("spawn")
    pipes, ports = [context.Pipe() for _ in range(2)], (free_port(), free_port())
    processes = [context.Process(target=_left_then_killed, args=(rank, ports, pipes[rank][1])) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL, 0]
    said = [[pipes[rank][0].recv() for _ in range(1 + rank)] for rank in range(2)]
    assert [name for name, _, _ in said[0]] == ["RankLost"]
    assert [name for name, _, _ in said[1]] == ["KeyError", "RankLost"]
    assert max(seconds for _, _, seconds in [*said[0], *said[1]]) < 10
    assert said[1][1][1] == (
        "rank 1 of 2 lost the connection to the others: one of them ended, or did not answer for 60 s; "
        "see its last output, and start all of them again"
    )
