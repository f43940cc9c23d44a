"""Look into a trainer after an update that went wrong: its batch, the losses by term, and the gradient norm of each layer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.health import TERMS, finite_or_none
from model.loss import Counts
from model.tacotron2 import Outputs
from model.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Inspection:
    """A batch as the network sees it now. A value that is not finite is None."""

    indices: tuple[int, ...]  # of the utterances, in the training set
    losses: dict[str, float | None]  # by term, and their weighted sum as `total`
    gradients: dict[str, float | None]  # norm by layer, unclipped
    weights: dict[str, float | None]  # norm by layer
    outputs: Outputs


def inspect(trainer: Trainer) -> Inspection:
    """Repeat the forward and the backward pass of the trainer's last batch, which changes no weights and no state.

    Recorded updates are dropped, since their memory is needed: `Trainer.roll_back` records anew.
    """
    trainer.drop_recorded()
    indices, network, update = trainer.indices, trainer.network, trainer.update
    size = trainer.cursor.part or len(indices)
    parts = [trainer.train(indices[start : start + size]) for start in range(0, len(indices), size)]
    with torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else []):
        sums, outputs, before = update.gradients(parts, Counts.of(parts, trainer.config.network.reduction))
    scale = float(update.scaler.scale(torch.ones((), device=trainer.device)))
    losses = dict(zip((*TERMS, "total"), map(finite_or_none, sums.tolist()), strict=True))
    gradients = _norms(network, lambda parameter: None if parameter.grad is None else parameter.grad / scale)
    weights = _norms(network, lambda parameter: parameter.detach())
    update.optimiser.zero_grad(set_to_none=True)
    for buffer, old in zip(network.buffers(), before, strict=True):
        buffer.copy_(old)
    return Inspection(tuple(indices), losses, gradients, weights, outputs[0])


def _norms(network: nn.Module, tensor_of: Callable[[nn.Parameter], Tensor | None]) -> dict[str, float | None]:
    """Return the norm over the tensors of each layer, by the layer's name."""
    squares: dict[str, float] = {}
    for name, parameter in network.named_parameters():
        tensor = tensor_of(parameter)
        if tensor is not None:
            layer = name.rpartition(".")[0]
            squares[layer] = squares.get(layer, 0.0) + float(tensor.double().square().sum())
    return {layer: finite_or_none(total**0.5) for layer, total in squares.items()}
