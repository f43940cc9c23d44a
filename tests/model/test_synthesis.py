"""Free-running synthesis: the ends of utterances, batches that equal single texts, and repeatable sound."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from model.decoder import Decoder
from model.layers import valid_mask
from model.synthesis import ENDINGS, EXTRA_FRAMES, FRAMES_PER_SYMBOL, SYNTHESIS_SEED, Synthesis, ends, joined, synthesise
from model.tacotron2 import Tacotron2
from tests.conftest import BANDS, SYMBOLS, tiny_network

IDS, LENGTHS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])


def build(r: int = 2, gate_bias: float | None = None, even_attention: bool = False) -> Tacotron2:
    """Build a network, with a constant gate of `gate_bias`, or with even attention, whose argmax is the first symbol."""
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(reduction=r), SYMBOLS, BANDS, 0.3, 1.7).double().requires_grad_(False)
    network.attention.energy.weight *= 0 if even_attention else 20
    if gate_bias is not None:
        network.gate.weight.zero_()
        network.gate.bias.fill_(gate_bias)
    return network


def limits(r: int) -> list[int]:
    return [(length * FRAMES_PER_SYMBOL + EXTRA_FRAMES) // r for length in LENGTHS.tolist()]


def row(speech: Synthesis, index: int, length: int) -> dict[str, Tensor]:
    """Return one utterance without its padding."""
    steps, frames = int(speech.step_lengths[index]), int(speech.frame_lengths[index])
    return {
        "mel": speech.mel[index, :frames],
        "gate": speech.gate[index, :steps],
        "alignment": speech.alignment[index, :steps, :length],
    }


@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_gate_that_never_fires_ends_at_the_limit_of_each_text(r: int) -> None:
    speech = synthesise(build(r, -1e4), IDS, LENGTHS, completed_frames=None)
    assert speech.ended == ("limit", "limit")
    assert speech.step_lengths.tolist() == limits(r)
    assert speech.frame_lengths.tolist() == [steps * r for steps in limits(r)]
    assert speech.mel.shape == (2, limits(r)[0] * r, BANDS)
    assert speech.gate.shape == (2, limits(r)[0])
    assert speech.alignment.shape == (2, limits(r)[0], 4)


def test_a_gate_that_fires_at_once_ends_after_one_step() -> None:
    speech = synthesise(build(2, 1e4), IDS, LENGTHS)
    assert speech.ended == ("gate", "gate")
    assert speech.step_lengths.tolist() == [1, 1]
    assert speech.mel.shape == (2, 2, BANDS)


@pytest.mark.parametrize("r", [1, 3])
def test_the_step_whose_gate_fires_is_the_last(r: int) -> None:
    network = build(r)
    free = synthesise(network, IDS, LENGTHS, threshold=1.0, completed_frames=None)
    threshold = float(free.gate[:, :3].max())  # exceeded later on, if at all
    speech = synthesise(network, IDS, LENGTHS, threshold=threshold, completed_frames=None)
    assert "gate" in speech.ended
    for index, steps in enumerate(speech.step_lengths.tolist()):
        over = free.gate[index, : limits(r)[index]] > threshold
        assert speech.ended[index] == ("gate" if over.any() else "limit")
        assert steps == (int(over.int().argmax()) + 1 if over.any() else limits(r)[index])
        torch.testing.assert_close(speech.gate[index, :steps], free.gate[index, :steps], rtol=0, atol=0)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_attention_that_stays_on_the_end_ends_what_the_gate_missed(r: int) -> None:
    """Both symbols of the short text count as its end; in the long text the attention never reaches the end."""
    network = build(r, -1e4, even_attention=True)
    speech = synthesise(network, IDS, LENGTHS, completed_frames=31)
    assert speech.ended == ("limit", "alignment")
    assert speech.step_lengths.tolist() == [limits(r)[0], -(-31 // r)]
    assert synthesise(network, IDS, LENGTHS, completed_frames=None).ended == ("limit", "limit")


def test_the_gate_has_priority_over_the_attention_and_the_limit() -> None:
    """All three reasons hold at the first step."""
    stop = at_end = torch.tensor([[True, False]])
    for given, ending in (((stop, 1), "gate"), ((~stop, 1), "alignment"), ((~stop, None), "limit")):
        steps, reason = ends(given[0], at_end, torch.tensor([1]), given[1])
        assert (steps.tolist(), ENDINGS[int(reason)]) == ([1], ending)


@pytest.mark.parametrize("completed_steps", [None, 1, 3])
def test_ends_equal_a_search_step_by_step(completed_steps: int | None) -> None:
    random = torch.Generator().manual_seed(0)
    stop, at_end = (torch.rand(200, 6, generator=random) < share for share in (0.05, 0.4))
    limit = torch.randint(1, 12, (200,), generator=random)
    steps, reason = ends(stop, at_end, limit, completed_steps)
    found = set()
    for index in range(len(stop)):
        run = 0
        for t in range(6):
            run = run + 1 if at_end[index, t] else 0
            completed = completed_steps is not None and run >= completed_steps
            holds = (bool(stop[index, t]), completed, int(limit[index]) == t + 1)
            if any(holds):
                assert (int(steps[index]), int(reason[index])) == (t + 1, holds.index(True))
                found.add(holds.index(True))
                break
        else:
            assert steps[index] > 6, "it still runs"
            found.add(None)
    assert found == {0, 2, None} | ({1} if completed_steps else set())


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_a_batch_of_two_equals_two_batches_of_one(r: int, window: int | None) -> None:
    """The prenet's dropout is on."""
    network = build(r)
    threshold = float(synthesise(network, IDS, LENGTHS, threshold=1.0, window=window).gate[:, :8].max())
    both = synthesise(network, IDS, LENGTHS, threshold=threshold, window=window)
    assert both.step_lengths[0] != both.step_lengths[1]
    for index, length in enumerate(LENGTHS.tolist()):
        one = IDS[index : index + 1, :length], LENGTHS[index : index + 1]
        alone = synthesise(network, *one, threshold=threshold, window=window)
        torch.testing.assert_close(row(both, index, length), row(alone, 0, length))
        assert both.ended[index] == alone.ended[0]


def test_a_text_always_sounds_the_same_and_training_is_not_disturbed() -> None:
    network = build(2, -1e4)
    state = torch.get_rng_state()
    first = synthesise(network, IDS, LENGTHS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(77)
    torch.testing.assert_close(synthesise(network, IDS, LENGTHS).mel, first.mel, rtol=0, atol=0)


def test_it_runs_the_decoders_steps_with_new_masks_in_each() -> None:
    network = build(2)
    speech = synthesise(network, IDS, LENGTHS, threshold=1.0, completed_frames=None)
    masks = network.prenet.draw(limits(2)[0], torch.Generator().manual_seed(SYNTHESIS_SEED))
    decoder = Decoder(network, IDS, LENGTHS)
    state = decoder.start()
    for t, drawn in enumerate(masks):
        state, _, gate = decoder.step(state, drawn)
        running = speech.step_lengths > t
        # in double precision; some processors take a sigmoid of one row otherwise than of two
        torch.testing.assert_close(speech.gate[running, t], gate[running].sigmoid(), rtol=1e-12, atol=0)
        torch.testing.assert_close(speech.alignment[running, t], state.alignment[running], rtol=1e-12, atol=0)


def test_attention_rows_sum_to_one_and_padding_is_silent() -> None:
    speech = synthesise(build(2), IDS, LENGTHS, threshold=1.0)
    inside = valid_mask(speech.step_lengths)
    torch.testing.assert_close(speech.alignment.sum(2), inside.double())
    assert speech.alignment[1, :, 2:].abs().max() == 0
    assert speech.gate[inside].min() > 0
    assert speech.gate[~inside].abs().max() == 0
    assert speech.mel[~valid_mask(speech.frame_lengths)].abs().max() == 0


def test_the_window_is_passed_to_the_decoder() -> None:
    """The first step's window is around the first symbol."""
    network = build(2)
    assert synthesise(network, IDS, LENGTHS, window=1).alignment[0, 0, 2:].max() == 0
    assert synthesise(network, IDS, LENGTHS).alignment[0, 0, 2:].max() > 0


def test_an_utterance_that_is_not_finite_runs_to_its_limit_and_affects_no_other() -> None:
    """A symbol with a broken embedding breaks its own utterance only."""
    network = build(2)
    network.encoder.embedding.weight[6] = torch.nan
    speech = synthesise(network, IDS, LENGTHS, completed_frames=None)
    assert speech.ended[1] == "limit"
    assert speech.mel[1, : int(speech.frame_lengths[1])].isnan().all()
    assert speech.mel[0].isfinite().all()


def test_an_empty_text_and_zero_completed_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got lengths \[4, 0\]"):
        synthesise(build(), IDS, torch.tensor([4, 0]))
    with pytest.raises(ValueError, match="completed_frames >= 1, got 0"):
        synthesise(build(), IDS, LENGTHS, completed_frames=0)


def test_parts_of_a_batch_join_to_the_batch() -> None:
    network = build()
    whole = synthesise(network, IDS, LENGTHS)
    parts = joined([synthesise(network, IDS[row : row + 1], LENGTHS[row : row + 1]) for row in range(2)])
    assert parts.ended == whole.ended
    for field in fields(Synthesis)[:-1]:
        torch.testing.assert_close(getattr(parts, field.name), getattr(whole, field.name))
