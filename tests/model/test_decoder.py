"""The decoder of synthesis: blocks of steps equal single steps, and each utterance has an attention window of its own."""

import pytest
import torch
from torch import Tensor

from model.decoder import Block, Decoder
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, tiny_network

IDS = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 3, 2, 0, 0, 0], [5, 5, 5, 1, 2, 3, 4, 0]])
LENGTHS = torch.tensor([8, 5, 7])


def build(device: str = "cpu") -> Tacotron2:
    """Build a network whose attention is sharp and moves."""
    torch.manual_seed(3)
    network = Tacotron2(tiny_network(reduction=2), SYMBOLS, BANDS).double().eval().requires_grad_(False)
    network.attention.energy.weight *= 20
    network.attention.location_dense.weight *= 20
    return network.to(device)


def masks(network: Tacotron2, steps: int) -> Tensor:
    return network.prenet.draw(steps, torch.Generator().manual_seed(1))


def outputs_of(network: Tacotron2, blocks: list[int], window: int | None = None) -> list[Tensor]:
    """Return frames (B, T, r, M), gates (B, T) and alignments (B, T, N) of consecutive blocks of equal length."""
    device = network.mel_mean.device
    block = Block(Decoder(network, IDS.to(device), LENGTHS.to(device), window), blocks[0])
    parts = [block(drawn) for drawn in masks(network, sum(blocks)).split(blocks)]
    return [torch.cat(values, 1).cpu() for values in zip(*parts, strict=True)]


def test_a_block_of_steps_equals_single_steps() -> None:
    network = build()
    decoder = Decoder(network, IDS, LENGTHS)
    state, steps = decoder.start(), []
    for drawn in masks(network, 12):
        state, frames, gate = decoder.step(state, drawn)
        steps.append((frames, gate, state.alignment))
        assert torch.equal(state.frame, frames[:, -1])
    one_by_one = [torch.stack(values, 1) for values in zip(*steps, strict=True)]
    for blocks in ([12], [4, 4, 4], [1] * 12):
        torch.testing.assert_close(outputs_of(network, blocks), one_by_one, rtol=0, atol=0)


def test_single_precision_is_close_to_double() -> None:
    """It uses other products, with packed weights."""
    single = build().float()
    near = [value.double() for value in outputs_of(single, [6])]
    torch.testing.assert_close(near, outputs_of(single.double(), [6]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("window", [None, 2])
def test_a_block_never_waits_for_the_device(window: int | None) -> None:
    """A graph could not record a wait. On the meta device, reading a tensor's content raises."""
    block = Block(Decoder(build("meta"), IDS.to("meta"), LENGTHS.to("meta"), window), 3)
    assert [value.shape for value in block(torch.ones(3, 2, 6, device="meta"))] == [(3, 3, 2, BANDS), (3, 3), (3, 3, 8)]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_attention_stays_in_the_window_of_each_utterance(window: int) -> None:
    alignment = outputs_of(build(), [40], window)[2]
    centres = torch.cat([torch.zeros(3, 1, dtype=torch.int64), alignment.argmax(2)[:, :-1]], 1)  # (B, T)
    distance = (torch.arange(alignment.shape[2]) - centres[:, :, None]).abs()
    assert alignment[distance > window].abs().max() == 0
    torch.testing.assert_close(alignment.sum(2), torch.ones_like(alignment[:, :, 0]))
    assert (centres != centres[:1]).any(), "one window for all utterances would not be noticed"
    assert centres.max() > window, "the window does not move"


def test_a_window_as_wide_as_the_text_changes_nothing() -> None:
    network = build()
    free = outputs_of(network, [40])
    torch.testing.assert_close(outputs_of(network, [40], IDS.shape[1] - 1), free, rtol=0, atol=0)
    assert not torch.equal(outputs_of(network, [40], 2)[0], free[0])


def test_a_window_that_cannot_move_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 symbol"):
        Decoder(build(), IDS, LENGTHS, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 2])
def test_a_recorded_block_on_a_gpu_equals_the_cpu(window: int | None) -> None:
    """Several blocks in a row show the state that a replay leaves for the next one."""
    recorded, computed = (outputs_of(build(device), [4] * 5, window) for device in ("cuda", "cpu"))
    torch.testing.assert_close(recorded, computed, rtol=1e-8, atol=1e-10)
