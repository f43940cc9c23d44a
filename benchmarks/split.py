"""Measure the parts of one update: data, the parts of the forward pass, backward, optimiser."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from model import tacotron2
from model.loss import Counts
from model.trainer import Trainer


def split(trainer: Trainer, indices: list[int]) -> dict[str, float]:
    """Seconds of each part of one update of `trainer` on the batch `indices`, waiting for the device after every part."""
    _once(trainer, indices)  # memory and libraries make ready
    return _once(trainer, indices)


def _once(trainer: Trainer, indices: list[int]) -> dict[str, float]:
    clock = _Clock(trainer.device)
    update, network = trainer.update, trainer.network
    with clock.part("data"):
        batch = trainer.train(indices)
    network.train()
    hooks = [
        hook
        for name, module in (("encoder", network.encoder), ("postnet", network.postnet))
        for hook in clock.watch(name, module)
    ]
    attend, decode = tacotron2.attend, network._decode  # type: ignore[attr-defined]
    tacotron2.attend = clock.around("recurrence", attend)  # type: ignore[attr-defined]
    network._decode = clock.around("decoder LSTM", decode)  # type: ignore[method-assign]
    try:
        began = clock.now()
        _, _, loss = update._forward(batch, Counts.of([batch], network.network.reduction))
        forward = clock.now() - began
    finally:
        tacotron2.attend = attend  # type: ignore[attr-defined]
        del network._decode
        for hook in hooks:
            hook.remove()
    with clock.part("backward"):
        loss.backward()  # type: ignore[no-untyped-call]
    with clock.part("optimiser"):
        nn.utils.clip_grad_norm_(network.parameters(), update.config.training.clip_norm)
        update.optimiser.found_inf = None  # type: ignore[attr-defined]
        update.optimiser.step()
        update.optimiser.zero_grad(set_to_none=True)
    known = sum(clock.seconds[name] for name in ("encoder", "recurrence", "decoder LSTM", "postnet"))
    order = ("data", "encoder", "recurrence", "decoder LSTM", "postnet", "backward", "optimiser")
    return {name: clock.seconds[name] for name in order} | {"rest of forward": forward - known}


class _Clock:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = self.now()
        yield
        self.seconds[name] = self.now() - began

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            with self.part(name):
                return call(*arguments)

        return timed

    def watch(self, name: str, module: nn.Module) -> list[Any]:
        began = [0.0]

        def enter(*_: object) -> None:
            began[0] = self.now()

        def leave(*_: object) -> None:
            self.seconds[name] = self.now() - began[0]

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
