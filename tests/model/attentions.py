"""Synthetic attention of every kind: good, blurred, flickering, skipping, repeating, stuck, and none at all."""

import torch
from torch import Tensor

from model.health import measure_alignment

T, N = 500, 80


def sharp(path: Tensor, sd: float = 0.37) -> Tensor:
    """Return attention (T, N) around a path (T,) of positions in symbols."""
    return torch.softmax(-((torch.arange(N) - path[:, None]) ** 2) / (2 * sd**2), 1)


def natural() -> Tensor:
    """Return the symbol at each step (T,), with durations that differ by a factor of several, as in speech."""
    torch.manual_seed(0)
    durations = torch.distributions.Gamma(4.0, 4.0).sample((N,)).clamp(min=0.3)
    ends = (durations.cumsum(0) / durations.sum() * T).round().long()
    return torch.searchsorted(ends, torch.arange(T), right=True).clamp(max=N - 1).float()


def spread(path: Tensor, mass: float = 0.92) -> Tensor:
    """Return attention (T, N) with `mass` on the symbol of the path and the rest on its neighbours."""
    A = torch.zeros(T, N)
    at = path.long()
    rows = torch.arange(T)
    A[rows, at] = mass
    A[rows, (at + 1).clamp(max=N - 1)] += (1 - mass) / 2
    A[rows, (at - 1).clamp(min=0)] += (1 - mass) / 2
    return A


def stretched(path: Tensor) -> Tensor:
    """Stretch a path of any length to T steps."""
    return path[(torch.arange(T) * len(path) // T)]


def cases() -> dict[str, Tensor]:
    good = natural()
    half = good.clone()
    half[T // 2 :] = half[T // 2]
    skipping = stretched(good[(good < 30) | (good >= 45)])
    again = (good >= 40) & (good < 60)
    at = int(torch.nonzero(again)[-1]) + 1
    repeating = stretched(torch.cat([good[:at], good[again], good[at:]]))
    silent = torch.cat([stretched(good)[torch.arange(T - 80) * T // (T - 80)], torch.full((80,), N - 1.0)])
    straight = torch.arange(T) * N / T
    torch.manual_seed(1)
    return {
        "good": spread(good),
        "silence at the end": spread(silent),
        "skips 15 symbols": spread(skipping),
        "goes back 20 symbols": spread(repeating),
        "stuck from half-way": spread(half),
        "blurred": sharp(straight, 1.5),
        "very blurred": sharp(straight, 6.0),
        "uniform": torch.full((T, N), 1 / N),
        "horizontal": spread(torch.full((T,), 40.0), 0.96),
        "random": torch.softmax(5 * torch.randn(T, N), 1),
        "reversed": spread(good.flip(0)),
        "permuted": spread(good)[:, torch.randperm(N)],
    }


def measured(attention: Tensor, first_step: int | None = None, last_step: int | None = None) -> dict[str, float]:
    """Measure attention (T, N) between two steps, the whole by default."""
    lengths = (torch.tensor([size]) for size in attention.shape)
    span = (None if step is None else torch.tensor([step]) for step in (first_step, last_step))
    got = measure_alignment(attention[None], *lengths, *span)
    return {name: float(value[0]) for name, value in got.items()}
