"""Averaged weights follow the weights, leave them as they are, and survive a snapshot."""

import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from model.averaging import Average
from model.config import Config, Training
from model.snapshot import Snapshot
from model.trainer import Trainer
from tests.conftest import tiny_config, toy_speech

CPU = torch.device("cpu")
AVERAGED: Config = replace(tiny_config(), training=Training(batch_size=4, learning_rate=3e-3, average=0.9))


def trainer(config: Config, start: Snapshot | None = None) -> Trainer:
    return Trainer(config, toy_speech(), 2, 4, CPU, seed=5, start=start)


def test_it_is_the_exponential_average_with_a_quick_start() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average, expected = Average(layer, 0.5), 0.0
    for count in range(1, 20):
        nn.init.constant_(layer.weight, float(count**2))
        average.update()
        share = 1 - min(0.5, count / (count + 9))
        expected = float(count**2) if count == 1 else expected + share * (count**2 - expected)
        assert float(average.weights["weight"]) == pytest.approx(expected, rel=1e-5)


def test_it_is_applied_for_a_while_and_changes_no_training() -> None:
    run = trainer(AVERAGED)
    for _ in run.steps():
        assert run.average is not None
        before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        with run.average.applied():
            torch.testing.assert_close(dict(run.network.state_dict()), run.average.weights, rtol=0, atol=0)
        torch.testing.assert_close(dict(run.network.state_dict()), before, rtol=0, atol=0)
    other = trainer(replace(AVERAGED, training=replace(AVERAGED.training, average=0.0)))
    for _ in other.steps():
        pass
    torch.testing.assert_close(dict(run.network.state_dict()), dict(other.network.state_dict()), rtol=0, atol=0)


def test_a_resumed_training_has_the_same_average() -> None:
    run, snapshot = trainer(AVERAGED), None
    for count, _ in enumerate(run.steps()):
        if count == 4:
            taken = run.snapshot().as_dict()
            snapshot = Snapshot.from_dict(torch.load(_saved(taken), weights_only=True))
    resumed = trainer(AVERAGED, snapshot)
    for _ in resumed.steps():
        pass
    assert run.average is not None
    assert resumed.average is not None
    torch.testing.assert_close(resumed.average.weights, run.average.weights, rtol=0, atol=0)
    assert resumed.average.updates == run.average.updates


def _saved(values: dict[str, object]) -> io.BytesIO:
    content = io.BytesIO()
    torch.save(values, content)
    content.seek(0)
    return content
