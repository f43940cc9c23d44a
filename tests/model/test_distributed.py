"""Training on two ranks equals training in one process; the ranks stay identical, and a resume is exact."""

import copy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.config import Config, Training
from model.data.batching import shares
from model.distributed import Group
from model.layers import MaskedBatchNorm
from model.report import Report
from model.snapshot import Snapshot
from tests.conftest import tiny_config, toy_examples, toy_speech
from tests.model.ranks import WITHOUT_DROPOUT, Ranks, assert_same_bits, trained, trainer
from tests.model.training import state_of, timeless


def assert_close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def without_statistics(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if "running" not in name}


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(1, 8))
def test_shares_make_up_the_batch_and_are_nearly_equal(lengths: list[int], count: int) -> None:
    batch = list(range(len(lengths)))[::-1]
    divided = shares(batch, np.array(lengths), count)
    assert sorted(index for share in divided for index in share) == sorted(batch)
    assert [bool(share) for share in divided] == [rank < len(batch) for rank in range(count)]
    frames = [sum(lengths[index] for index in share) for share in divided]
    fullest = divided[frames.index(max(frames))]
    assert max(frames) - min(frames) <= min(lengths[index] for index in fullest)


def test_two_ranks_equal_one_process(ranks: Ranks) -> None:
    """The one process trains on each batch in the ranks' shares, so that batch norm sees the same utterances together."""
    one = trainer(None, WITHOUT_DROPOUT)
    one._step = lambda batch: one.update([one.train(share) for share in shares(batch, one.train.frames, 2)])  # type: ignore
    expected = list(one.reports())
    for reports, tensors in ranks(trained, WITHOUT_DROPOUT):
        assert_close(without_statistics(tensors), without_statistics(state_of(one.update)))
        for ours, theirs in zip(reports, expected, strict=True):
            assert (ours.kframes, ours.updates, ours.learning_rate) == (theirs.kframes, theirs.updates, theirs.learning_rate)
            for part in ("train", "gradients", "train_health"):
                measured, goal = asdict(getattr(ours, part)), asdict(getattr(theirs, part))
                assert measured == {name: value and pytest.approx(value, rel=1e-4) for name, value in goal.items()}


def statistics(group: Group) -> tuple[list[int], dict[str, Tensor]]:
    """Return the first batch, and the network's state after it."""
    run = trainer(group, WITHOUT_DROPOUT)
    next(run.steps())
    return next(trainer(None, WITHOUT_DROPOUT).batches), run.network.state_dict()


def test_running_statistics_are_the_mean_of_the_ranks(ranks: Ranks) -> None:
    (batch, ours), (_, others) = ranks(statistics)
    assert_same_bits(ours, others)
    each = []
    for share in shares(batch, trainer(None, WITHOUT_DROPOUT).train.frames, 2):
        alone = trainer(None, WITHOUT_DROPOUT)
        alone.update([alone.train(share)])
        each.append(alone.network.state_dict())
    names = [name for name in ours if "running" in name]
    assert len(names) == 2 * sum(isinstance(module, MaskedBatchNorm) for module in alone.network.modules())
    for name in names:
        assert_close(ours[name], (each[0][name] + each[1][name]) / 2)
        assert not torch.equal(each[0][name], each[1][name])


@pytest.mark.parametrize("size", [1, 3])
def test_batches_that_leave_a_rank_without_a_share(size: int, ranks: Ranks) -> None:
    """A single utterance is one share, as in one process, batch norm included. With three, the last of the epoch is single."""
    config = replace(WITHOUT_DROPOUT, training=Training(batch_size=size, learning_rate=3e-3))
    speech, kframes = toy_speech(train=7, validation=2), 0.3  # 17 updates of one utterance: more than two epochs
    (reports, tensors), (others, copies) = ranks(trained, config, speech, kframes)
    assert reports == others
    assert_same_bits(tensors, copies)
    if size == 1:
        one = trainer(None, config, speech, kframes)
        for ours, theirs in zip(reports, one.reports(), strict=True):
            assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-4)
        assert_close(tensors, state_of(one.update))


def test_with_dropout_the_ranks_stay_identical_and_a_run_is_repeatable(ranks: Ranks) -> None:
    (reports, tensors), (others, copies) = ranks(trained, tiny_config())
    assert len(reports) == 4
    assert reports == others
    assert_same_bits(tensors, copies)
    again, _ = ranks(trained, tiny_config())
    assert again[0] == reports


def outputs_for_twins(group: Group, config: Config) -> Tensor:
    """Return this rank's outputs of two updates that change no weight, on batches that are twice the same utterance."""
    (example,) = toy_examples(1, 1)
    config = replace(config, training=Training(batch_size=2, learning_rate=1e-30))
    run = trainer(group, config, replace(toy_speech(), train=[example] * 2))
    seen: list[Tensor] = []
    run.network.register_forward_hook(lambda network, batch, outputs: seen.append(outputs.mel_before.detach()))
    steps = run.steps()
    next(steps), next(steps)
    return torch.stack(seen)


def test_dropout_differs_between_ranks_and_updates(ranks: Ranks) -> None:
    for config, kinds in ((WITHOUT_DROPOUT, 1), (tiny_config(), 4)):
        outputs = torch.cat(ranks(outputs_for_twins, config))
        assert len({tuple(values.flatten().tolist()) for values in outputs}) == kinds


def stopped(group: Group, config: Config, at: int) -> tuple[list[Report], Snapshot]:
    """Train until rank 0 decides to stop, after `at` updates."""
    run, reports = trainer(group, config), []
    for report in run.steps():
        reports += [report] if report is not None else []
        if group.agree(group.rank == 0 and run.cursor.updates == at):
            break
    return timeless(reports), copy.deepcopy(run.snapshot())


def resumed(group: Group, config: Config, snapshot: Snapshot) -> tuple[list[Report], dict[str, Tensor]]:
    torch.manual_seed(999 + group.rank)
    run = trainer(group, config, start=snapshot)
    return timeless(list(run.reports())), state_of(run.update)


def test_rank_0_stops_both_and_a_resume_from_its_snapshot_is_exact(ranks: Ranks) -> None:
    at = 6  # between two reports
    base = tiny_config()
    config = replace(base, loss=replace(base.loss, guided_until=-1.0))  # a decision of rank 0's validation reaches the others
    straight = ranks(trained, config)
    (before, snapshot), (others, copied) = ranks(stopped, config, at)
    assert len(before) == len(others) == 1
    assert snapshot.cursor.updates == copied.cursor.updates == at
    for (reports, tensors), (expected, goal) in zip(ranks(resumed, config, snapshot), straight, strict=True):
        assert before + reports == expected
        assert_same_bits(tensors, goal)
    assert expected[0].guided_weight > expected[-1].guided_weight
    alone = trainer(None, config, start=snapshot)
    assert [report.kframes for report in alone.reports()] == [report.kframes for report in reports]


def exchanged(group: Group) -> tuple[Any, list[int]]:
    return group.agree({"rank": group.rank, "of": [group.size]}), group.gather([group.rank] * (group.rank + 1))


def test_values_are_agreed_on_and_gathered(ranks: Ranks) -> None:
    assert ranks(exchanged) == [({"rank": 0, "of": [2]}, [0, 1, 1])] * 2
