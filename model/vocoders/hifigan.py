"""Compute waves from log-mels with the generator of HiFi-GAN (Kong, Kim and Bae 2020, arXiv:2010.05646, section 2.2).

B batch, M mel bands, F frames, C channels. The modules have the names that their tensors have in published checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from operator import ge
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of leaky ReLU; the last one has PyTorch's default, 0.01
OUTER_KERNEL = 7  # of the first and the last convolution


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a generator, by the names that config.json has for them. Raises ValueError for sizes that do not fit."""

    num_mels: int
    resblock: str  # 1: two convolutions for each dilation (V1, V2); 2: one (V3)
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        rates, kernels, blocks = self.upsample_rates, self.upsample_kernel_sizes, self.resblock_kernel_sizes
        numbers = (self.num_mels, self.upsample_initial_channel, *rates, *kernels, *blocks)
        numbers += tuple(dilation for dilations in self.resblock_dilation_sizes for dilation in dilations)
        rules = (
            (all(type(number) is int and number > 0 for number in numbers), "whole numbers above 0"),
            (self.resblock in ("1", "2"), "resblock 1 or 2"),
            (len(rates) == len(kernels) > 0, "as many upsample_kernel_sizes as upsample_rates"),
            (len(blocks) == len(self.resblock_dilation_sizes) > 0, "as many resblock_dilation_sizes as resblock_kernel_sizes"),
            (all(map(ge, kernels, rates)), "upsample_kernel_sizes that are not below the upsample_rates"),
            (all(size % 2 for size in blocks), "odd resblock_kernel_sizes"),
            (self.upsample_initial_channel % 2 ** len(rates) == 0, "channels that can be halved once for each upsample_rate"),
        )
        if broken := [rule for holds, rule in rules if not holds]:
            raise ValueError(f"need {', '.join(broken)}, got {self}")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Take the sizes from the content of a config.json. Raises ValueError where some are missing or no sizes."""
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in config]:
            raise ValueError(f"need a config.json with the sizes of HiFi-GAN, got one without {', '.join(missing)}")
        sizes = {name: _tuples(config[name]) for name in names} | {"resblock": str(config["resblock"])}
        try:
            return cls(**sizes)
        except TypeError as why:
            raise ValueError(f"need a config.json with the sizes of HiFi-GAN, got {sizes}") from why


class DoubleBlock(nn.Module):
    """Add to the signal, for each dilation in turn, what a dilated and an ordinary convolution make of it (V1 and V2)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_length(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_length(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, samples) to the same shape."""
        for dilated, ordinary in zip(self.convs1, self.convs2, strict=True):
            x = x + ordinary(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class SingleBlock(nn.Module):
    """Add to the signal, for each dilation in turn, what one dilated convolution makes of it (V3)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same_length(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, samples) to the same shape."""
        for dilated in self.convs:
            x = x + dilated(F.leaky_relu(x, SLOPE))
        return x


class Generator(nn.Module):
    """Upsample a log-mel to a wave in steps; after each, take the mean of several residual blocks of different reach."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels = [sizes.upsample_initial_channel // 2**step for step in range(len(sizes.upsample_rates) + 1)]
        block = DoubleBlock if sizes.resblock == "1" else SingleBlock
        steps = zip(channels, channels[1:], sizes.upsample_kernel_sizes, sizes.upsample_rates, strict=False)
        self.conv_pre = nn.Conv1d(sizes.num_mels, channels[0], OUTER_KERNEL, padding=OUTER_KERNEL // 2)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, narrow, kernel, rate, padding=(kernel - rate) // 2) for wide, narrow, kernel, rate in steps
        )
        self.resblocks = nn.ModuleList(
            block(narrow, kernel, dilations)
            for narrow in channels[1:]
            for kernel, dilations in zip(sizes.resblock_kernel_sizes, sizes.resblock_dilation_sizes, strict=True)
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, OUTER_KERNEL, padding=OUTER_KERNEL // 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Map natural log-mels (B, M, F) to waves (B, 1, samples) in [-1, 1]; samples is F times the product of the rates.

        Where a kernel minus its rate is odd, the wave is a few samples longer.
        """
        x: Tensor = self.conv_pre(mel)
        count = len(self.resblocks) // len(self.ups)
        for step, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[step * count : (step + 1) * count]
            x = reduce(torch.add, [block(x) for block in blocks]) / count
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


def _same_length(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    """Return a convolution that keeps the number of samples."""
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)


def _tuples(value: Any) -> Any:
    """Return a value of JSON with tuples in place of lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
