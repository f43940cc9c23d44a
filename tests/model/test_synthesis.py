"""Free running: what ends an utterance, that a batch is its utterances, and that the same text sounds the same."""

import pytest
import torch
from torch import Tensor

from model.decoder import Decoder
from model.layers import valid_mask
from model.synthesis import ENDINGS, EXTRA_FRAMES, FRAMES_PER_SYMBOL, SYNTHESIS_SEED, Synthesis, ends, synthesise
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, tiny_network

IDS, LENGTHS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])


def build(r: int = 2, gate_bias: float | None = None, even_attention: bool = False) -> Tacotron2:
    """`gate_bias` takes the gate's word away; even attention has its maximum, the first of equals, on the first symbol."""
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(reduction=r), SYMBOLS, BANDS, 0.3, 1.7).double().requires_grad_(False)
    network.attention.energy.weight *= 0 if even_attention else 20
    if gate_bias is not None:
        network.gate.weight.zero_()
        network.gate.bias.fill_(gate_bias)
    return network


def limits(r: int) -> list[int]:
    return [(length * FRAMES_PER_SYMBOL + EXTRA_FRAMES) // r for length in LENGTHS.tolist()]


def row(spoken: Synthesis, index: int, length: int) -> dict[str, Tensor]:
    """One utterance without its padding."""
    steps, frames = int(spoken.step_lengths[index]), int(spoken.frame_lengths[index])
    return {
        "mel": spoken.mel[index, :frames],
        "gate": spoken.gate[index, :steps],
        "alignment": spoken.alignment[index, :steps, :length],
    }


@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_gate_that_never_opens_ends_at_the_limit_of_each_text(r: int) -> None:
    spoken = synthesise(build(r, -1e4), IDS, LENGTHS, completed_frames=None)
    assert spoken.ended == ("limit", "limit")
    assert spoken.step_lengths.tolist() == limits(r)
    assert spoken.frame_lengths.tolist() == [steps * r for steps in limits(r)]
    assert spoken.mel.shape == (2, limits(r)[0] * r, BANDS)
    assert spoken.gate.shape == (2, limits(r)[0])
    assert spoken.alignment.shape == (2, limits(r)[0], 4)


def test_an_open_gate_ends_at_once() -> None:
    spoken = synthesise(build(2, 1e4), IDS, LENGTHS)
    assert spoken.ended == ("gate", "gate")
    assert spoken.step_lengths.tolist() == [1, 1]
    assert spoken.mel.shape == (2, 2, BANDS)


@pytest.mark.parametrize("r", [1, 3])
def test_the_step_whose_gate_says_stop_is_the_last(r: int) -> None:
    network = build(r)
    free = synthesise(network, IDS, LENGTHS, threshold=1.0, completed_frames=None)
    threshold = float(free.gate[:, :3].max())  # exceeded later on, if at all
    spoken = synthesise(network, IDS, LENGTHS, threshold=threshold, completed_frames=None)
    assert "gate" in spoken.ended
    for index, steps in enumerate(spoken.step_lengths.tolist()):
        over = free.gate[index, : limits(r)[index]] > threshold
        assert spoken.ended[index] == ("gate" if over.any() else "limit")
        assert steps == (int(over.int().argmax()) + 1 if over.any() else limits(r)[index])
        torch.testing.assert_close(spoken.gate[index, :steps], free.gate[index, :steps], rtol=0, atol=0)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_attention_that_rests_on_the_end_ends_what_the_gate_missed(r: int) -> None:
    """Of the short text both symbols are its end, of the long one the attention never sees the end."""
    network = build(r, -1e4, even_attention=True)
    spoken = synthesise(network, IDS, LENGTHS, completed_frames=31)
    assert spoken.ended == ("limit", "alignment")
    assert spoken.step_lengths.tolist() == [limits(r)[0], -(-31 // r)]
    assert synthesise(network, IDS, LENGTHS, completed_frames=None).ended == ("limit", "limit")


def test_the_gate_is_heard_before_the_attention_and_the_limit() -> None:
    """All three hold at the first step."""
    stop = resting = torch.tensor([[True, False]])
    for given, ending in (((stop, 1), "gate"), ((~stop, 1), "alignment"), ((~stop, None), "limit")):
        steps, cause = ends(given[0], resting, torch.tensor([1]), given[1])
        assert (steps.tolist(), ENDINGS[int(cause)]) == ([1], ending)


@pytest.mark.parametrize("rest", [None, 1, 3])
def test_ends_are_what_reading_step_by_step_finds(rest: int | None) -> None:
    random = torch.Generator().manual_seed(0)
    stop, resting = (torch.rand(200, 6, generator=random) < share for share in (0.05, 0.4))
    limit = torch.randint(1, 12, (200,), generator=random)
    steps, cause = ends(stop, resting, limit, rest)
    found = set()
    for index in range(len(stop)):
        on_end = 0
        for t in range(6):
            on_end = on_end + 1 if resting[index, t] else 0
            held = (bool(stop[index, t]), rest is not None and on_end >= rest, int(limit[index]) == t + 1)
            if any(held):
                assert (int(steps[index]), int(cause[index])) == (t + 1, held.index(True))
                found.add(held.index(True))
                break
        else:
            assert steps[index] > 6, "it still runs"
            found.add(None)
    assert found == {0, 2, None} | ({1} if rest else set())


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_batch_of_two_is_two_batches_of_one(r: int, window: int | None) -> None:
    """With the prenet's dropout on."""
    network = build(r)
    threshold = float(synthesise(network, IDS, LENGTHS, threshold=1.0, window=window).gate[:, :8].max())
    both = synthesise(network, IDS, LENGTHS, threshold=threshold, window=window)
    assert both.step_lengths[0] != both.step_lengths[1]
    for index, length in enumerate(LENGTHS.tolist()):
        one = IDS[index : index + 1, :length], LENGTHS[index : index + 1]
        alone = synthesise(network, *one, threshold=threshold, window=window)
        torch.testing.assert_close(row(both, index, length), row(alone, 0, length))
        assert both.ended[index] == alone.ended[0]


def test_the_same_text_sounds_the_same_and_training_is_not_disturbed() -> None:
    network = build(2, -1e4)
    state = torch.get_rng_state()
    first = synthesise(network, IDS, LENGTHS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(77)
    torch.testing.assert_close(synthesise(network, IDS, LENGTHS).mel, first.mel, rtol=0, atol=0)


def test_it_takes_the_decoders_steps_with_new_masks_in_each() -> None:
    network = build(2)
    spoken = synthesise(network, IDS, LENGTHS, threshold=1.0, completed_frames=None)
    masks = network.prenet.draw(limits(2)[0], torch.Generator().manual_seed(SYNTHESIS_SEED))
    decoder = Decoder(network, IDS, LENGTHS)
    carry = decoder.start()
    for t, drawn in enumerate(masks):
        carry, _, gate = decoder.step(carry, drawn)
        running = spoken.step_lengths > t
        torch.testing.assert_close(spoken.gate[running, t], gate[running].sigmoid(), rtol=0, atol=0)
        torch.testing.assert_close(spoken.alignment[running, t], carry.alignment[running], rtol=0, atol=0)


def test_attention_rows_sum_to_one_and_padding_is_silent() -> None:
    spoken = synthesise(build(2), IDS, LENGTHS, threshold=1.0)
    inside = valid_mask(spoken.step_lengths)
    torch.testing.assert_close(spoken.alignment.sum(2), inside.double())
    assert spoken.alignment[1, :, 2:].abs().max() == 0
    assert spoken.gate[inside].min() > 0
    assert spoken.gate[~inside].abs().max() == 0
    assert spoken.mel[~valid_mask(spoken.frame_lengths)].abs().max() == 0


def test_the_window_is_the_decoders() -> None:
    """Speech begins at the first symbol."""
    network = build(2)
    assert synthesise(network, IDS, LENGTHS, window=1).alignment[0, 0, 2:].max() == 0
    assert synthesise(network, IDS, LENGTHS).alignment[0, 0, 2:].max() > 0


def test_what_is_not_finite_runs_to_the_limit_and_leaves_the_others_alone() -> None:
    """A symbol that nobody should say breaks its own utterance only."""
    network = build(2)
    network.encoder.embedding.weight[6] = torch.nan
    spoken = synthesise(network, IDS, LENGTHS, completed_frames=None)
    assert spoken.ended[1] == "limit"
    assert spoken.mel[1, : int(spoken.frame_lengths[1])].isnan().all()
    assert spoken.mel[0].isfinite().all()


def test_an_empty_text_and_no_rest_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got lengths \[4, 0\]"):
        synthesise(build(), IDS, torch.tensor([4, 0]))
    with pytest.raises(ValueError, match="completed_frames >= 1, got 0"):
        synthesise(build(), IDS, LENGTHS, completed_frames=0)
