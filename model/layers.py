"""Building blocks that do not see padding: masks, batch norm over valid positions, a convolution block, a bidirectional LSTM.

B batch, L positions (symbols or frames), C channels. Padding is at the end; a mask is (B, L), True on valid positions.
"""
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.1  # of the running statistics
Activation = Literal["linear", "sigmoid", "tanh", "relu"]


def valid_mask(lengths: Tensor, size: int | None = None) -> Tensor:
    """(B,) lengths -> (B, L) bool, True where a position is inside its sequence. L is the longest length unless given."""
    size = int(lengths.max()) if size is None else size
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm whose statistics count valid positions only, so that padding leaks into no other utterance."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """x (B, C, L), mask (B, 1, L) of 0 and 1 in x's type -> (B, C, L), arbitrary on padding."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        count = mask.sum(dtype=torch.float32)  # bf16 cannot count past 256
        mean = (x * mask).sum((0, 2)) / count  # (C,)
        centred = x - mean[:, None]
        variance = (centred.square() * mask).sum((0, 2)) / count
        with torch.no_grad():
            unbiased = variance.detach() * (count / (count - 1).clamp(min=1))
            for running, new in ((self.running_mean, mean.detach()), (self.running_var, unbiased)):
                moved = running.lerp(new.to(running), MOMENTUM)
                running.copy_(torch.where(moved.isfinite(), moved, running))  # a step that is skipped leaves no trace
        return centred * (torch.rsqrt(variance + self.eps) * self.weight)[:, None] + self.bias[:, None]


class ConvolutionBlock(nn.Module):
    """Convolution, batch norm, activation, dropout. Sees zeros beyond each sequence's end, and leaves zeros there."""

    def __init__(self, inputs: int, outputs: int, kernel: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = MaskedBatchNorm(outputs)
        self.activation = activation
        self.dropout = dropout
        nn.init.xavier_uniform_(self.convolution.weight, nn.init.calculate_gain(activation))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, inputs, L) with zeros on padding, mask (B, 1, L) of 0 and 1 -> (B, outputs, L) with zeros on padding."""
        x = self.norm(self.convolution(x), mask)
        if self.activation != "linear":
            x = F.relu(x) if self.activation == "relu" else torch.tanh(x)
        return F.dropout(x, self.dropout, self.training) * mask


class BidirectionalLSTM(nn.Module):
    """Two causal LSTMs, the second over each sequence turned round within its own length: no packing, no padding seen."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, outputs // 2, batch_first=True)
        self.backwards = nn.LSTM(inputs, outputs // 2, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (B, L, inputs), lengths (B,) -> (B, L, outputs) with zeros on padding."""
        position = torch.arange(x.shape[1], device=x.device)[None, :]
        inside = position < lengths[:, None]  # (B, L)
        turned = torch.where(inside, lengths[:, None] - 1 - position, position)[:, :, None]  # its own inverse
        there, _ = self.forwards(x)
        back, _ = self.backwards(x.gather(1, turned.expand_as(x)))
        return torch.cat([there, back.gather(1, turned.expand_as(back))], -1) * inside[:, :, None]


def linear(inputs: int, outputs: int, gain: Activation = "linear", bias: bool = True) -> nn.Linear:
    """A linear layer with Xavier-uniform weights, scaled for the activation `gain` that follows it."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(layer.weight, nn.init.calculate_gain(gain))
    return layer
