"""Average a network's weights over its last updates, which takes the noise of single ones away (Polyak, Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of a network's weights and statistics.

    The n-th update counts 1 - min(decay, n / (n + 9)): at first the average follows quickly, and forgets the untrained network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {}  # none before the first update

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's present weights into the average."""
        self.updates += 1
        now = self.network.state_dict()
        if not self.weights:
            self.weights = {name: tensor.clone() for name, tensor in now.items()}
            return
        share = 1 - min(self.decay, self.updates / (self.updates + 9))
        means = [name for name, tensor in now.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.weights[name] for name in means], [now[name] for name in means], share)
        for name in now.keys() - set(means):  # counters
            self.weights[name].copy_(now[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the averaged weights, and in the end its own back."""
        own = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def state(self) -> dict[str, Any]:
        """Return what `restore` continues from; the tensors are the average's own."""
        return {"updates": self.updates, "weights": self.weights}

    def restore(self, state: dict[str, Any]) -> None:
        device = next(self.network.parameters()).device
        self.updates = state["updates"]
        self.weights = {name: tensor.to(device, copy=True) for name, tensor in state["weights"].items()}
