"""Free running: it stops on the gate, it stops at a limit, and the same text sounds the same."""
import torch

from model.layers import valid_mask
from model.synthesis import FRAMES_BESIDES, FRAMES_PER_SYMBOL, synthesise
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, tiny_network

IDS, LENGTHS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])


def build(gate_bias: float, r: int = 2) -> Tacotron2:
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(reduction=r), SYMBOLS, BANDS)
    with torch.no_grad():
        network.gate.weight.zero_()
        network.gate.bias.fill_(gate_bias)
    return network


def test_a_gate_that_never_opens_ends_at_the_limit_of_each_text() -> None:
    spoken = synthesise(build(-9.0), IDS, LENGTHS)
    assert not spoken.stopped.any()
    assert spoken.frame_lengths.tolist() == [length * FRAMES_PER_SYMBOL + FRAMES_BESIDES for length in (4, 2)]


def test_an_open_gate_ends_at_once() -> None:
    spoken = synthesise(build(9.0), IDS, LENGTHS)
    assert spoken.stopped.all()
    assert spoken.step_lengths.tolist() == [1, 1]
    assert spoken.mel.shape[1] == 2


def test_the_same_text_sounds_the_same_and_training_is_not_disturbed() -> None:
    network = build(-9.0)
    state = torch.get_rng_state()
    first = synthesise(network, IDS, LENGTHS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(77)
    torch.testing.assert_close(synthesise(network, IDS, LENGTHS).mel, first.mel, rtol=0, atol=0)


def test_attention_rows_sum_to_one_and_padding_is_silent() -> None:
    spoken = synthesise(build(-9.0), IDS, LENGTHS)
    torch.testing.assert_close(spoken.alignment.sum(2), torch.ones_like(spoken.gate))
    assert spoken.alignment[1, :, 2:].abs().max() == 0
    assert spoken.mel[~valid_mask(spoken.frame_lengths)].abs().max() == 0
