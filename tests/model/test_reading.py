"""True alignments pass whatever surrounds or blurs them; skipped, repeated and unread text does not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import Audio, Config, Network
from model.health import measure, measure_alignment
from model.tacotron2 import Outputs
from tests.model.attentions import N, T, cases, measured, natural, sharp, spread, stretched


def within(lead: float, tail: float) -> tuple[Tensor, int, int]:
    """Return a true alignment with shares of silence around it, in which attention rests, and the steps of its ends."""
    first, last = round(lead * T), T - 1 - round(tail * T)
    reading = natural()[torch.arange(last - first + 1) * T // (last - first + 1)]
    path = torch.cat([torch.zeros(first), reading, torch.full((T - 1 - last,), N - 1.0)])
    return spread(path), first, last


@pytest.mark.parametrize(("lead", "tail"), [(0.25, 0.0), (0.0, 0.15), (0.2, 0.3)])
def test_a_true_alignment_is_on_the_diagonal_whatever_silence_surrounds_it(lead: float, tail: float) -> None:
    """Over the whole recording the first one has a diagonality of 0.4, which is that of a network to be stopped."""
    attention, first, last = within(lead, tail)
    got = measured(attention, first, last)
    assert got["diagonality"] > 0.9 > 0.75 > measured(attention)["diagonality"]
    assert got["reading"] > 0.97


def test_a_wandering_attention_in_the_silence_does_not_count() -> None:
    attention, first, last = within(0.1, 0.1)
    attention[last + 1 :] = attention[last + 1 :].roll(-30, 1)
    assert measured(attention, first, last)["reading"] > 0.97 > measured(attention)["reading"]


def test_a_full_stop_that_is_read_in_the_silence_is_covered() -> None:
    attention, first, last = within(0.0, 0.1)
    attention[: last + 1] = attention[: last + 1].roll(-1, 1)  # the last symbol only after the last sound
    assert measured(attention, first, last)["coverage"] > 0.98


TRUE = {
    "sharp": spread(natural()),
    "blurred by 0.7 symbols": sharp(natural(), 0.7),
    "blurred by 1.5 symbols": sharp(natural(), 1.5),
    "flickers by a third of a symbol": sharp(natural() + (torch.arange(T) % 2 * 2 - 1) / 3),
    "trembles by a third of a symbol": sharp(natural() + torch.randn(T, generator=torch.Generator().manual_seed(0)) / 3),
    "steadily": sharp(torch.arange(T) * N / T),
}


@pytest.mark.parametrize("case", TRUE)
def test_a_true_reading_is_one_however_sharp(case: str) -> None:
    """The alignment score of all but the first and the last is at most 0.57, the target was 0.6."""
    assert measured(TRUE[case])["reading"] > 0.95


def skipping(symbols: int) -> Tensor:
    """Return the path of a reading that leaves out symbols from the thirtieth on."""
    path = natural()
    return stretched(path[(path < 30) | (path >= 30 + symbols)])


FALSE = {
    "skips a word of 8 symbols": (spread(skipping(8)), 0.85, 0.92),
    "skips it, blurred": (sharp(skipping(8), 0.7), 0.85, 0.93),
    "skips 15 symbols": (spread(skipping(15)), 0.75, 0.85),
    "repeats 20 symbols": (cases()["goes back 20 symbols"], 0.65, 0.8),
    "stuck from half-way": (cases()["stuck from half-way"], 0.35, 0.5),
    "reads the text twice": (spread(stretched(natural().repeat(2))), 0.0, 0.05),
    "reads the text three times": (spread(stretched(natural().repeat(3))), 0.0, 0.05),
    "hardly moves": (torch.softmax(torch.linspace(0, 0.4, T)[:, None] * torch.linspace(-1, 1, N), 1), 0.0, 0.15),
    **{name: (cases()[name], 0.0, 0.03) for name in ("uniform", "horizontal", "random", "reversed", "permuted")},
}


@pytest.mark.parametrize("case", FALSE)
def test_text_that_is_skipped_repeated_or_not_read_lowers_the_reading(case: str) -> None:
    attention, least, most = FALSE[case]
    assert least <= measured(attention)["reading"] <= most


@pytest.mark.parametrize("r", [1, 3])
def test_a_clip_with_a_second_of_silence_behind_it_is_measured_to_its_last_sound(r: int) -> None:
    """Over the whole clips the diagonality of some is below the target."""
    config = replace(Config(), network=Network(reduction=r))
    second = Audio().rate_hz // Audio().hop_samples
    spoken = torch.tensor([4 * second, 6 * second, 9 * second])
    frames = int(spoken.max()) + second
    mels = torch.full((3, frames, 80), -11.5)
    alignment = torch.zeros(3, -(-frames // r), N)
    for row, length in enumerate(spoken.tolist()):
        mels[row, :length] = torch.randn(length, 80)
        path = (torch.arange(alignment.shape[1]) * r * N // length).clamp(max=N - 1)
        alignment[row, torch.arange(len(path)), path] = 1.0
    lengths = spoken + second
    outputs = Outputs(
        mel_before=mels,
        mel_after=mels,
        gate=torch.full(alignment.shape[:2], -1.0),
        alignment=alignment,
        recorded=mels,
        frame_lengths=lengths,
        step_lengths=-(-lengths // r),
        symbol_lengths=torch.full((3,), N),
    )
    whole = measure_alignment(alignment, outputs.step_lengths, outputs.symbol_lengths)
    assert whole["diagonality"].min() < 0.75
    got = measure(outputs, config)
    assert (got["diagonality"] > 0.95).all()
    assert (got["reading"] > 0.97).all()
    outputs.gate[:] = torch.where(torch.arange(outputs.gate.shape[1]) >= (-(-lengths // r) - 4 // r)[:, None], 1.0, -1.0)
    assert (measure(outputs, config)["gate_accuracy"] == 1).all(), "within 0.2 s of the end"
