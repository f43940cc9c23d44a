"""The decoder of synthesis: blocks of steps are the steps, and a window is each utterance's own."""

import pytest
import torch
from torch import Tensor

from model.decoder import Block, Decoder
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, tiny_network

IDS = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 3, 2, 0, 0, 0], [5, 5, 5, 1, 2, 3, 4, 0]])
LENGTHS = torch.tensor([8, 5, 7])


def build(device: str = "cpu") -> Tacotron2:
    """Its attention is sharp and wanders."""
    torch.manual_seed(3)
    network = Tacotron2(tiny_network(reduction=2), SYMBOLS, BANDS).double().eval().requires_grad_(False)
    network.attention.energy.weight *= 20
    network.attention.location_dense.weight *= 20
    return network.to(device)


def masks(network: Tacotron2, steps: int) -> Tensor:
    return network.prenet.draw(steps, torch.Generator().manual_seed(1))


def said(network: Tacotron2, blocks: list[int], window: int | None = None) -> list[Tensor]:
    """Frames (B, T, r, M), gates (B, T) and alignments (B, T, N) of all blocks, which are equally long."""
    device = network.mel_mean.device
    block = Block(Decoder(network, IDS.to(device), LENGTHS.to(device), window), blocks[0])
    parts = [block(drawn) for drawn in masks(network, sum(blocks)).split(blocks)]
    return [torch.cat(values, 1).cpu() for values in zip(*parts, strict=True)]


def test_blocks_of_steps_are_the_steps_one_after_another() -> None:
    network = build()
    decoder = Decoder(network, IDS, LENGTHS)
    carry, steps = decoder.start(), []
    for drawn in masks(network, 12):
        carry, frames, gate = decoder.step(carry, drawn)
        steps.append((frames, gate, carry.alignment))
        assert torch.equal(carry.frame, frames[:, -1])
    one_by_one = [torch.stack(values, 1) for values in zip(*steps, strict=True)]
    for blocks in ([12], [4, 4, 4], [1] * 12):
        torch.testing.assert_close(said(network, blocks), one_by_one, rtol=0, atol=0)


def test_single_precision_says_what_double_says() -> None:
    """Other products, with packed weights, compute it."""
    single = build().float()
    near = [value.double() for value in said(single, [6])]
    torch.testing.assert_close(near, said(single.double(), [6]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("window", [None, 2])
def test_nothing_in_a_block_asks_the_host(window: int | None) -> None:
    """A graph could not record it. Tensors of no content can only be computed with where nobody looks into them."""
    block = Block(Decoder(build("meta"), IDS.to("meta"), LENGTHS.to("meta"), window), 3)
    assert [value.shape for value in block(torch.ones(3, 2, 6, device="meta"))] == [(3, 3, 2, BANDS), (3, 3), (3, 3, 8)]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_attention_stays_in_the_window_of_each_utterance(window: int) -> None:
    alignment = said(build(), [40], window)[2]
    centres = torch.cat([torch.zeros(3, 1, dtype=torch.int64), alignment.argmax(2)[:, :-1]], 1)  # (B, T)
    distance = (torch.arange(alignment.shape[2]) - centres[:, :, None]).abs()
    assert alignment[distance > window].abs().max() == 0
    torch.testing.assert_close(alignment.sum(2), torch.ones_like(alignment[:, :, 0]))
    assert (centres != centres[:1]).any(), "one window for all would not be noticed"
    assert centres.max() > window, "the window does not move"


def test_a_window_as_wide_as_the_text_changes_nothing() -> None:
    network = build()
    free = said(network, [40])
    torch.testing.assert_close(said(network, [40], IDS.shape[1] - 1), free, rtol=0, atol=0)
    assert not torch.equal(said(network, [40], 2)[0], free[0])


def test_a_window_that_cannot_move_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 symbol"):
        Decoder(build(), IDS, LENGTHS, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 2])
def test_what_a_gpu_recorded_is_what_a_cpu_computes(window: int | None) -> None:
    """Block after block, so that what a replay leaves behind for the next one is seen."""
    torch.testing.assert_close(said(build("cuda"), [4] * 5, window), said(build(), [4] * 5, window), rtol=1e-8, atol=1e-10)
