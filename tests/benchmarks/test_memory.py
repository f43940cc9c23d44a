"""The counter of memory agrees with PyTorch's own, and tensors without values take as much as those with them."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.memory import Need, NoValues, as_on_a_gpu, count, kept, row
from model.config import Config, Network
from model.cpu import matmul
from model.cuda_graphs import SHAPES

CPU = torch.device("cpu")
TINY = Network(embedding=16, encoder=16, prenet=8, attention_rnn=16, decoder_rnn=16, attention=8, location_kernel=3, postnet=16)


@pytest.fixture(autouse=True)
def _plain_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without oneDNN, whose workspaces only a run can tell."""
    monkeypatch.setattr(matmul, "ONEDNN", False)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


def counted(recurrence: str, dtype: torch.dtype, utterances: int = 2) -> Need:
    return count(Config(network=replace(TINY, recurrence=recurrence)), utterances, 5, 6, CPU, dtype)


@pytest.mark.parametrize(("recurrence", "dtype"), [("deferred", torch.bfloat16), ("reference", torch.float32)])
def test_tensors_without_values_take_as_much(recurrence: str, dtype: torch.dtype) -> None:
    with NoValues():
        without = counted(recurrence, dtype)
    assert without == counted(recurrence, dtype)


@pytest.mark.parametrize(("dtype", "more"), [(torch.float32, 1.01), (torch.bfloat16, 1.04)])
def test_the_profiler_finds_the_same_peak(dtype: torch.dtype, more: float) -> None:
    """Kernels also allocate for themselves, above all in half precision, which no counter of tensors sees."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        need = counted("deferred", dtype)
    live = peak = 0
    assert profiler.profiler is not None
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert need.eager <= peak <= more * need.eager


def test_a_larger_batch_needs_more_inputs_activations_and_outputs_only() -> None:
    with NoValues():
        small, large = (counted("deferred", torch.float32, utterances) for utterances in (2, 4))
    assert (large.weights, large.optimiser) == (small.weights, small.optimiser)
    assert (large.inputs, large.outputs) == (2 * small.inputs, 2 * small.outputs)
    assert small.activations < large.activations < 2 * small.activations


def test_the_outputs_of_every_shape_are_kept() -> None:
    assert 5 * 100 < kept(100, 870) < kept(100, 400) < kept(100, 1) < SHAPES * 100


def test_a_row_names_the_smallest_card() -> None:
    line = row(64, Need(weights=10**8, optimiser=0, inputs=0, activations=7 * 10**9, outputs=0), 870)
    assert line.endswith("| 7.1: 8 GB | 7.1: 8 GB | 14.1: 16 GB |")
    assert "none" in row(64, Need(0, 0, 0, 142 * 10**9, 0), 870)


@pytest.mark.parametrize("recurrence", ["cuda", "deferred"])
def test_a_gpu_that_is_not_here(recurrence: str) -> None:
    with as_on_a_gpu():
        single, half = (counted(recurrence, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.weights == single.weights
    assert half.activations < single.activations
