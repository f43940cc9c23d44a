"""Random inputs and weights of recurrences to compare, shapes that include the edge cases, and gradients by name."""

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from model.recurrence import Inputs, Weights

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHAPES = {  # T, B, N
    "usual": (5, 3, 7),
    "one utterance": (4, 1, 6),
    "one symbol": (4, 2, 1),
    "one step": (1, 2, 5),
    "fewer symbols than the kernel": (3, 2, 2),
}


def draw(
    T: int,
    B: int,
    N: int,
    dropout: bool,
    dimensions: tuple[int, int, int, int],
    dtype: torch.dtype = torch.float64,
    device: torch.device = DEVICE,
) -> tuple[Inputs, Weights]:
    """Draw a recurrence that neither saturates nor forgets; its last utterance has about half the symbols."""
    A, E, D, K = dimensions
    torch.manual_seed(T * 100 + B * 10 + N)

    def leaf(*shape: int, scale: float = 0.5) -> Tensor:
        return (scale * torch.randn(*shape, dtype=dtype, device=device)).requires_grad_()

    padding = torch.zeros(B, N, dtype=torch.bool, device=device)
    padding[-1, (N + 1) // 2 :] = N > 1
    mask = (torch.rand(T, B, A, dtype=dtype, device=device) > 0.3) / 0.7 if dropout else None
    inputs = Inputs(leaf(T, B, 4 * A), leaf(B, N, E), leaf(B, N, D), padding, mask)
    recurrent, query = leaf(4 * A, E + A, scale=(E + A) ** -0.5), leaf(D, A, scale=A**-0.5)
    return inputs, Weights(recurrent, query, leaf(D, 2, K, scale=K**-0.5), leaf(D, scale=2 * D**-0.5))


def leaves(inputs: Inputs, weights: Weights) -> dict[str, Tensor]:
    """Return the tensors that need a gradient, by name."""
    every = {field.name: getattr(value, field.name) for value in (inputs, weights) for field in fields(value)}
    return {name: tensor for name, tensor in every.items() if tensor is not None and tensor.requires_grad}


def weighted(*outputs: Tensor) -> Tensor:
    """Return a loss that gives every output number a gradient of its own, the same in every precision."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=torch.float64, generator=generator).to(DEVICE) for output in outputs]
    return sum((output.double() * weight).sum() for output, weight in zip(outputs, weights, strict=True))


def run(outputs: tuple[Tensor, ...], wanted: dict[str, Tensor], loss: Loss = weighted) -> dict[str, Tensor]:
    """Return the outputs and the gradients of the leaves, by name."""
    gradients = torch.autograd.grad(loss(*outputs), list(wanted.values()))
    return dict(zip(("hidden", "context", "alignment"), outputs, strict=True)) | dict(zip(wanted, gradients, strict=True))
