"""The terms follow their formulas, utterance by utterance, and weights do not enter the score."""

import math
from dataclasses import replace

import pytest
import torch

from model.config import Loss
from model.data.loading import Batch, collate
from model.loss import guided_attention, terms, total
from model.report import Losses
from model.tacotron2 import Outputs
from tests.conftest import BANDS, toy_examples


def random_outputs(batch: Batch) -> Outputs:
    torch.manual_seed(5)
    B, F, _ = batch.mels.shape
    T = -(-F // 2)
    attention = torch.rand(B, T, batch.ids.shape[1])
    return Outputs(
        mel_before=torch.randn(B, F, BANDS),
        mel_after=torch.randn(B, F, BANDS),
        gate=torch.randn(B, T),
        alignment=attention,
        recorded=batch.mels,
        frame_lengths=batch.frame_lengths,
        step_lengths=(batch.frame_lengths + 1) // 2,
        symbol_lengths=batch.symbol_lengths,
    )


def test_the_terms_follow_their_formulas() -> None:
    batch = collate(toy_examples(3, 6))
    outputs = random_outputs(batch)
    got = terms(outputs, batch, torch.tensor(2.0), Loss(gate_positive_weight=7.0, guided_sigma=0.3))
    mel, gate, weighted, guided, frames, steps = 0.0, 0.0, 0.0, 0.0, 0, 0
    for b in range(3):
        F, T, N = int(batch.frame_lengths[b]), int(outputs.step_lengths[b]), int(batch.symbol_lengths[b])
        mel += float(((outputs.mel_after[b, :F] - batch.mels[b, :F]) / 2).square().sum())
        for t in range(T):
            p = 1 / (1 + math.exp(-float(outputs.gate[b, t])))
            last = t == T - 1
            gate -= math.log(p if last else 1 - p)
            weighted -= math.log(p if last else 1 - p) * (7 if last else 1)
            for n in range(N):
                guided += float(outputs.alignment[b, t, n]) * (1 - math.exp(-((n / N - t / T) ** 2) / (2 * 0.3**2)))
        frames, steps = frames + F, steps + T
    assert float(got.mel_after) == pytest.approx(mel / frames / BANDS, rel=1e-4)
    assert float(got.gate) == pytest.approx(gate / steps, rel=1e-4)
    assert float(got.gate_weighted) == pytest.approx(weighted / steps, rel=1e-4)
    assert float(got.guided) == pytest.approx(guided / steps, rel=1e-4)


def test_the_total_is_the_weighted_sum_of_the_terms() -> None:
    batch = collate(toy_examples(2, 6))
    parts = terms(random_outputs(batch), batch, torch.tensor(1.0), Loss())
    expected = parts.mel_before + parts.mel_after + 3 * parts.gate_weighted + 0.5 * parts.guided
    torch.testing.assert_close(total(parts, Loss(gate_weight=3.0, guided_weight=9.0), 0.5), expected)


def test_the_gate_weight_does_not_enter_the_score() -> None:
    batch = collate(toy_examples(2, 6))
    outputs = random_outputs(batch)
    light = terms(outputs, batch, torch.tensor(1.0), Loss(gate_positive_weight=1.0))
    heavy = terms(outputs, batch, torch.tensor(1.0), Loss(gate_positive_weight=20.0))
    assert torch.equal(light.gate, heavy.gate)
    assert light.gate_weighted < heavy.gate_weighted


def test_guided_attention_is_small_on_the_diagonal_and_large_off_it() -> None:
    diagonal = torch.eye(40)[None]
    lengths = torch.tensor([40])
    assert float(guided_attention(diagonal, lengths, lengths, 0.2)) == pytest.approx(0, abs=1e-6)
    assert float(guided_attention(diagonal.flip(2), lengths, lengths, 0.2)) > 0.5


def test_a_missing_term_gives_no_score() -> None:
    complete = Losses(0.5, 0.4, 0.1, 0.0)
    assert complete.score == pytest.approx(1.0)
    assert replace(complete, gate=None).score is None
