"""Dropout whose masks are cheap on a CPU: 16 random bits a value, where PyTorch's draws a float each (ten times as slow)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_WAYS = 2**16  # of 16 bits; probabilities are rounded to whole ones of these


def dropout_mask(shape: Sequence[int], share: float, like: Tensor) -> Tensor:
    """Zeros with probability `share`, elsewhere what keeps the mean at 1 (in bf16 rounded: 0.998); in the type and on the
    device of `like`."""
    if like.device.type != "cpu":
        return F.dropout(like.new_ones(*shape), share)
    count, cut = math.prod(shape), min(round(share * _WAYS), _WAYS - 1)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    kept = torch.ge(bits, cut - _WAYS // 2, out=like.new_empty(count))
    return kept.mul_(_WAYS / (_WAYS - cut)).view(*shape)


def dropout(x: Tensor, share: float, training: bool = True) -> Tensor:
    """`F.dropout`."""
    if not training or share == 0:
        return x
    return F.dropout(x, share) if x.device.type != "cpu" else x * dropout_mask(x.shape, share, x)
