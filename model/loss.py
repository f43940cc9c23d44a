"""The terms of the loss, named and unweighted; the weights are applied in one place, `total`.

B batch, F frames, M bands, T decoder steps, N symbols. All means count valid positions only, so that padding changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import Loss
from model.data.loading import Batch
from model.health import TERMS
from model.layers import valid_mask
from model.tacotron2 import Outputs


@dataclass(frozen=True, slots=True)
class Counts:
    """The divisors that turn a batch's sums into means. Parts of a batch use those of the batch: their terms add up to its."""

    frames: Tensor
    steps: Tensor

    @classmethod
    def of(cls, parts: Sequence[Batch], reduction: int) -> "Counts":
        """Count the valid frames and decoder steps of a batch in parts."""
        lengths = torch.cat([batch.frame_lengths for batch in parts])
        return cls(lengths.sum(), ((lengths + reduction - 1) // reduction).sum())


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a batch, as scalars."""

    mel_before: Tensor  # mean square over valid frames and bands, in units of the corpus's mel variance
    mel_after: Tensor
    gate: Tensor  # stop token's cross-entropy per valid step, positive weight 1
    gate_weighted: Tensor  # the same with the stop step counted `gate_positive_weight` times
    guided: Tensor  # see `guided_attention`

    def stacked(self) -> Tensor:
        """Return the unweighted terms (4,) without a graph, in the order of TERMS."""
        return torch.stack([getattr(self, name).detach() for name in TERMS])


def guided_attention(
    alignment: Tensor, step_lengths: Tensor, symbol_lengths: Tensor, sigma: float, count: Tensor | None = None
) -> Tensor:
    """Return the attention mass off the diagonal, per valid decoder step, a scalar in [0, 1] (arXiv:1710.08969, eq. 6).

    alignment (B, T, N), lengths (B,). The weight is 1 - exp(-(n/N - t/T)^2 / (2 sigma^2)) with N and T of each utterance. The
    mass is divided by `count` steps, by default those of this batch.
    """
    steps, symbols = alignment.shape[1:]
    t = torch.arange(steps, device=alignment.device)[None, :, None] / step_lengths[:, None, None]
    n = torch.arange(symbols, device=alignment.device)[None, None, :] / symbol_lengths[:, None, None]
    weight = 1 - torch.exp(-((n - t) ** 2) / (2 * sigma**2))  # (B, T, N)
    inside = valid_mask(step_lengths, steps)[:, :, None] & valid_mask(symbol_lengths, symbols)[:, None]
    return (alignment * weight * inside).sum() / (step_lengths.sum() if count is None else count)


def terms(outputs: Outputs, batch: Batch, mel_std: Tensor, loss: Loss, counts: Counts | None = None) -> Terms:
    """Return all terms of a batch, or of a part of the batch that `counts` belongs to. `mel_std` is the corpus's."""
    counts = counts or Counts(batch.frame_lengths.sum(), outputs.step_lengths.sum())
    frames = valid_mask(batch.frame_lengths, batch.mels.shape[1])[:, :, None]
    values = counts.frames * batch.mels.shape[2]

    def mel_error(predicted: Tensor) -> Tensor:
        return (((predicted - batch.mels) / mel_std * frames) ** 2).sum() / values

    steps = valid_mask(outputs.step_lengths, outputs.gate.shape[1])
    gate = outputs.gate.to(torch.promote_types(outputs.gate.dtype, torch.float32))
    step = torch.arange(outputs.gate.shape[1], device=steps.device)
    last = (step == outputs.step_lengths[:, None] - 1).to(gate.dtype)  # (B, T)
    entropy = F.binary_cross_entropy_with_logits(gate, last, reduction="none") * steps
    return Terms(
        mel_before=mel_error(outputs.mel_before),
        mel_after=mel_error(outputs.mel_after),
        gate=entropy.sum() / counts.steps,
        gate_weighted=(entropy * (1 + (loss.gate_positive_weight - 1) * last)).sum() / counts.steps,
        guided=guided_attention(outputs.alignment, outputs.step_lengths, batch.symbol_lengths, loss.guided_sigma, counts.steps),
    )


def total(terms: Terms, loss: Loss, guided_weight: Tensor | float) -> Tensor:
    """Return the loss that is minimised, the weighted sum of the terms. `guided_weight` is the weight as decayed so far."""
    mel = terms.mel_before + terms.mel_after
    return mel + loss.gate_weight * terms.gate_weighted + guided_weight * terms.guided
