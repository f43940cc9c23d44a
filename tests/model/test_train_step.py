"""One update: a step that is not finite changes nothing, parts equal their batch, rate and weight are read when it runs."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model import trainer
from model.config import Config, Network, Training
from model.cpu.processor import Processor
from model.data.loading import Batch, collate
from model.health import RECORD
from model.layers import MaskedBatchNorm
from model.loss import Counts, terms, total
from model.tacotron2 import Tacotron2
from model.train_step import Update
from model.trainer import precision
from tests.conftest import BANDS, SYMBOLS, tiny_config, toy_examples, without_dropout
from tests.model.training import state_of

CPU, STD = torch.device("cpu"), 1.7
CONFIG = replace(tiny_config(), network=without_dropout(reduction=2), training=Training(weight_decay=0.1, clip_norm=1e3))


def build(config: Config = CONFIG, rate: float = 1e-2, guided_weight: float = 0.7) -> Update:
    torch.manual_seed(0)
    update = Update(Tacotron2(config.network, SYMBOLS, BANDS, 0.3, STD), config, STD, torch.float32, CPU)
    update.rate.fill_(rate)
    update.guided_weight.fill_(guided_weight)
    return update


def frozen_norms(update: Update) -> Update:
    """Let batch norm use its running statistics in every mode, so that the parts of a batch have the same ones."""
    for module in update.network.modules():
        if isinstance(module, MaskedBatchNorm):
            module.eval()
            module.train = lambda mode=True: None  # type: ignore[assignment,method-assign,misc]
    return update


def batch_of(count: int, seed: int = 1) -> Batch:
    return collate(toy_examples(count, seed))


def value(record: Tensor, name: str) -> float:
    return float(record[RECORD.index(name)])


def gradients_times(update: Update, factor: float) -> list[Any]:
    return [parameter.register_hook(lambda gradient: gradient * factor) for parameter in update.network.parameters()]


def gradients_of_zero(update: Update) -> list[Any]:
    return [parameter.register_hook(torch.zeros_like) for parameter in update.network.parameters()]


FAULTS: dict[str, tuple[Callable[[Update], list[Any]], float]] = {  # a change of the gradients, and a factor of the mels
    "the loss alone": (gradients_of_zero, math.nan),
    "an infinite loss": (gradients_of_zero, math.inf),
    "the gradient alone": (lambda update: gradients_times(update, math.inf), 1.0),
    "one number of the gradient": (lambda update: [update.network.gate.bias.register_hook(lambda g: g * math.nan)], 1.0),
    "both": (lambda update: [], math.nan),
}


@pytest.mark.parametrize("before", [0, 2], ids=["the first update", "the third update"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_step_that_is_not_finite_changes_nothing(fault: str, before: int) -> None:
    update, straight = build(), build()
    for seed in range(before):
        update([batch_of(4, seed)])
        straight([batch_of(4, seed)])
    before_step = state_of(update)
    gradients, factor = FAULTS[fault]
    hooks, batch = gradients(update), batch_of(3, 7)
    record, _ = update([batch_of(2, 8), replace(batch, mels=batch.mels * factor)])
    assert not math.isfinite(value(record, "norm")) or not math.isfinite(value(record, "loss"))
    now = state_of(update)
    torch.testing.assert_close({name: now[name] for name in before_step}, before_step, rtol=0, atol=0)
    assert all((now[name] == 0).all() for name in now.keys() - before_step.keys()), "new moments, and counters"
    for hook in hooks:
        hook.remove()
    for run in (update, straight):
        run([batch_of(4, 9)])
    torch.testing.assert_close(state_of(update), state_of(straight), rtol=0, atol=0)


def test_a_finite_step_changes_the_complete_state() -> None:
    update = build()
    update([batch_of(4)])
    was = state_of(update)
    update([batch_of(4, 2)])
    now = state_of(update)
    unchanged = [name for name in was if torch.equal(was[name], now[name])]
    assert [name for name in unchanged if not name.startswith("mel_") and "num_batches" not in name] == []
    assert {float(step) for name, step in now.items() if name.endswith(" step")} == {2.0}


def test_a_loss_scaler_reduces_its_scale_after_an_overflow() -> None:
    update = build()
    update.scaler = torch.amp.GradScaler("cpu", enabled=True)
    was, hooks = state_of(update), gradients_times(update, math.inf)
    record, _ = update([batch_of(4)])
    assert value(record, "scale") == 65_536, "the scale of this update"
    assert update.scaler.get_scale() == 32_768
    now = state_of(update)
    torch.testing.assert_close({name: now[name] for name in was}, was, rtol=0, atol=0)
    for hook in hooks:
        hook.remove()
    record, _ = update([batch_of(4)])
    plain, _ = build()([batch_of(4)])
    assert value(record, "scale") == 32_768
    torch.testing.assert_close(record[:-1], plain[:-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [[4, 4], [5, 2, 1], [1] * 8], ids=str)
def test_the_gradients_of_parts_add_up(sizes: list[int]) -> None:
    examples = toy_examples(8, 1)
    left = iter(examples)
    parts = [collate(list(islice(left, size))) for size in sizes]
    undivided, divided = frozen_norms(build()), frozen_norms(build())
    one, _ = undivided([collate(examples)])
    other, outputs = divided(parts)
    assert [len(output.gate) for output in outputs] == sizes
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)
    ours, theirs = ([parameter.grad for parameter in run.network.parameters()] for run in (divided, undivided))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_record_is_in_the_documented_order() -> None:
    update, batch = build(), batch_of(4)
    network = copy.deepcopy(update.network).train()
    outputs = network(batch)
    parts = terms(outputs, batch, update.mel_std, CONFIG.loss, Counts.of([batch], 2))
    loss = total(parts, CONFIG.loss, 0.7)
    loss.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]).norm()
    expected = {name: getattr(parts, name) for name in ("mel_before", "mel_after", "gate", "guided")}
    expected |= {"norm": norm, "loss": loss, "scale": torch.ones(())}
    assert tuple(expected) == RECORD
    record, (output,) = update([batch])
    torch.testing.assert_close(record, torch.stack(list(expected.values())).detach(), rtol=1e-4, atol=1e-6)
    assert len({round(float(number), 4) for number in record}) == len(RECORD), "equal numbers could be exchanged unnoticed"
    torch.testing.assert_close(output.mel_after, outputs.mel_after.detach())
    assert not output.mel_after.requires_grad


def test_the_rate_is_read_when_the_update_runs() -> None:
    changes = {}
    for rate in (0.0, 1e-3, 2e-3):
        update = build(rate=1.0)
        before = nn.utils.parameters_to_vector(update.network.parameters()).detach()
        update.rate.fill_(rate)
        update([batch_of(4)])
        changes[rate] = nn.utils.parameters_to_vector(update.network.parameters()).detach() - before
    assert changes[0.0].abs().max() == 0
    assert changes[1e-3].abs().max() > 0
    torch.testing.assert_close(changes[2e-3], 2 * changes[1e-3], rtol=1e-3, atol=1e-6)


def test_the_guided_weight_is_read_when_the_update_runs() -> None:
    records = {}
    for weight in (0.0, 3.0):
        update = build()
        update.guided_weight.fill_(weight)
        records[weight], _ = update([batch_of(4)])
    difference = value(records[3.0], "loss") - value(records[0.0], "loss")
    assert difference == pytest.approx(3 * value(records[0.0], "guided"), rel=1e-4)
    assert value(records[3.0], "norm") != value(records[0.0], "norm")


def test_a_restored_update_continues_identically_and_reads_the_rate() -> None:
    straight = build(rate=3e-3)
    for seed in range(2):
        straight([batch_of(4, seed)])
    resumed = build(rate=3e-3)
    resumed.network.load_state_dict(straight.network.state_dict())
    resumed.restore(copy.deepcopy(straight.optimiser.state_dict()), straight.scaler.state_dict())
    for run in (straight, resumed):
        run.rate.fill_(1e-2)
        run([batch_of(4, 2)])
    torch.testing.assert_close(state_of(resumed), state_of(straight), rtol=0, atol=0)
    before = dict(resumed.network.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in before.items()}
    resumed.rate.fill_(0.0)
    resumed([batch_of(4, 3)])
    torch.testing.assert_close(dict(resumed.network.named_parameters()), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("features", "fast", "expected"),
    [(1_024, True, torch.bfloat16), (1_024, False, torch.float32), (256, True, torch.float32), (256, False, torch.float32)],
)
def test_on_a_cpu_half_precision_is_chosen_for_wide_networks_if_it_is_fast(
    features: int, fast: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "processor", lambda: Processor("P", mkl=1.0, onednn=1.0, bf16=0.5 if fast else 0.9))
    assert precision(Config(network=Network(attention_rnn=features)), CPU) == expected


@pytest.mark.parametrize(("wanted", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_requested_precision_is_used(wanted: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    half = 0.1 if expected == torch.float32 else 9.0
    monkeypatch.setattr(trainer, "processor", lambda: Processor("P", mkl=1.0, onednn=1.0, bf16=half))
    assert precision(Config(training=Training(precision=wanted)), CPU) == expected


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match=r"fp16 needs a GPU, the device is the CPU: choose auto, bf16 or fp32"):
        precision(Config(training=Training(precision="fp16")), CPU)


def test_a_batch_that_did_not_fit_leaves_batch_norm_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again in parts, and its statistics must not count twice."""
    update, batch = build(), collate(toy_examples(4, seed=1))
    before = {name: buffer.clone() for name, buffer in update.network.named_buffers()}

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "backward", full)
        with pytest.raises(torch.OutOfMemoryError):
            update([batch])
    assert {name: buffer.equal(before[name]) for name, buffer in update.network.named_buffers()} == dict.fromkeys(before, True)
    update([batch])
    assert any(not buffer.equal(before[name]) for name, buffer in update.network.named_buffers())
