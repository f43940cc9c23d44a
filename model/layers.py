"""Building blocks that ignore padding: masks, batch norm over valid positions, a convolution block, a bidirectional LSTM.

B batch, L positions (symbols or frames), C channels. Padding is at the end; a mask is (B, L), True on valid positions.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.cpu import matmul
from model.cpu.dropout import dropout
from model.cpu.matmul import Linear
from model.recurrence.decoder_lstm import lstm

# The LSTM weights that each update rounds to half precision are not one block of memory, and cuDNN would warn each time.
warnings.filterwarnings("ignore", message="RNN module weights are not part")
MOMENTUM = 0.1  # weight of a batch in the running statistics
Activation = Literal["linear", "sigmoid", "tanh", "relu"]


def valid_mask(lengths: Tensor, size: int | None = None) -> Tensor:
    """Return (B, L) bool for lengths (B,), True where a position is inside its sequence. L is the longest length by default."""
    size = int(lengths.max()) if size is None else size
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm whose statistics count valid positions only, so that padding affects no other utterance."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x (B, C, L) with mask (B, 1, L) of 0 and 1 in x's type; values on padding are arbitrary."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        y, mean, variance, count = _MaskedNorm.apply(x, mask, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        unbiased = variance * (count / (count - 1).clamp(min=1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.lerp_(new.to(running), MOMENTUM)
        return y  # type: ignore[no-any-return]


class _MaskedNorm(torch.autograd.Function):
    """Batch norm over valid positions, with a backward pass in half as many passes over the memory as autograd's.

    Statistics and everything computed from them are in single precision (double for double), whatever the type of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kind = torch.promote_types(x.dtype, torch.float32)
        count = mask.sum(dtype=kind)  # bf16 cannot count past 256
        mean = (x * mask).sum((0, 2), dtype=kind) / count  # (C,)
        wide = x - mean[:, None]
        variance = (wide.square() * mask).sum((0, 2)) / count
        centred = wide.to(x.dtype)
        inverse = torch.rsqrt(variance + eps)
        y = torch.addcmul(bias.to(x.dtype)[:, None], centred, (inverse * weight).to(x.dtype)[:, None])
        ctx.save_for_backward(centred, mask, weight, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        centred, mask, weight, inverse, count = ctx.saved_tensors
        d_y, kind = gradients[0], inverse.dtype
        d_bias = d_y.sum((0, 2), dtype=kind)
        d_scale = (d_y * centred).sum((0, 2), dtype=kind)
        # Every valid position contributes to mean and variance.
        tilt, lift = -d_scale * inverse.square() / count, -d_bias / count
        d_x = torch.addcmul(lift.to(d_y.dtype)[:, None], centred, tilt.to(d_y.dtype)[:, None])
        d_x = d_x.mul_(mask).add_(d_y).mul_((inverse * weight).to(d_y.dtype)[:, None])
        return d_x, None, (d_scale * inverse).to(weight.dtype), d_bias.to(weight.dtype), None


class ConvolutionBlock(nn.Module):
    """Convolution, batch norm, activation, dropout. Expects zeros beyond the end of each sequence, and leaves zeros there."""

    def __init__(self, inputs: int, outputs: int, kernel: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = MaskedBatchNorm(outputs)
        self.activation = activation
        self.dropout = dropout
        nn.init.xavier_uniform_(self.convolution.weight, nn.init.calculate_gain(activation))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Turn x (B, inputs, L) into (B, outputs, L), both with zeros on padding; mask (B, 1, L) is of 0 and 1."""
        x = self.convolution(x)
        mask = mask.to(x.dtype)  # autocast chose the type of x: a wider mask would widen everything after it
        x = self.norm(x, mask)
        if self.activation != "linear":
            x = F.relu(x) if self.activation == "relu" else torch.tanh(x)
        return dropout(x * mask, self.dropout, self.training)


def run_lstm(rnn: nn.LSTM, x: Tensor) -> Tensor:
    """Run the library's LSTM on x (T, B, inputs), or batch first if it was built so; return its outputs in the type of x.

    Autocast would run cuDNN's LSTM in fp16 whichever half precision was requested. Where the library has none in bf16, PyTorch
    would run one step by step and add up the gradients of its weights in bf16: ours is as fast there, and exact.
    """
    autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")  # which would turn wider inputs into bf16
    if (x.dtype == torch.bfloat16 or autocast) and not library_has_bf16(x.device):
        return own_lstm(rnn, x.transpose(0, 1)).transpose(0, 1) if rnn.batch_first else own_lstm(rnn, x)
    if x.device.type == "cpu" or x.dtype != torch.bfloat16:
        outputs: Tensor = rnn(x)[0]
        return outputs
    with torch.autocast(x.device.type, enabled=False):
        weights = [weight.to(x.dtype) for weight in rnn.parameters()]
        zero = x.new_zeros(1, x.shape[0 if rnn.batch_first else 1], rnn.hidden_size)
        outputs = torch._VF.lstm(x, (zero, zero), weights, True, 1, 0.0, rnn.training, False, rnn.batch_first)[0]
    return outputs


def library_has_bf16(device: torch.device) -> bool:
    """Return True if the library has an LSTM in bf16: cuDNN from 9.13 on, not MIOpen; oneDNN where the processor has it."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return torch.version.hip is None and version is not None and version >= 91_300


def own_lstm(rnn: nn.LSTM, x: Tensor, mask: Callable[[Tensor], Tensor | None] = lambda gates: None) -> Tensor:
    """Run our LSTM with the weights of `rnn` on x (T, B, inputs): (T, B, H) in the type of the products.

    mask: returns a dropout mask (T, B, H) of the hidden states for the gates (T, B, 4H), or None.
    """
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    input_weight, recurrent, *biases = (rnn.get_parameter(name) for name in names)
    gates = matmul.linear(x, ifog(input_weight), ifog(biases[0] + biases[1]))
    return lstm(gates, ifog(recurrent), mask(gates))


class BidirectionalLSTM(nn.Module):
    """Two causal LSTMs, the second over each sequence reversed within its own length: no packing, and padding has no effect."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, outputs // 2, batch_first=True)
        self.backwards = nn.LSTM(inputs, outputs // 2, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Turn x (B, L, inputs) with lengths (B,) into (B, L, outputs), with zeros on padding."""
        position = torch.arange(x.shape[1], device=x.device)[None, :]
        inside = position < lengths[:, None]  # (B, L)
        reversed_ = torch.where(inside, lengths[:, None] - 1 - position, position)[:, :, None]  # its own inverse
        forward = run_lstm(self.forwards, x)
        backward = run_lstm(self.backwards, x.gather(1, reversed_.expand_as(x)))
        return torch.cat([forward, backward.gather(1, reversed_.expand_as(backward))], -1) * inside[:, :, None]


def linear(inputs: int, outputs: int, gain: Activation = "linear", bias: bool = True) -> nn.Linear:
    """Return a linear layer with Xavier-uniform weights, scaled for the activation `gain` that follows it."""
    layer = Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(layer.weight, nn.init.calculate_gain(gain))
    return layer


def ifog(gates: Tensor) -> Tensor:
    """Reorder rows from PyTorch's order of gates (input, forget, cell, output) to input, forget, output, cell."""
    enter, forget, new, leave = gates.chunk(4)
    return torch.cat([enter, forget, leave, new])
