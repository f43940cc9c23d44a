"""One step of the optimiser. The host never waits for the device: measurements stay there, in a record for each step."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from model.config import Config
from model.data.loading import Batch
from model.health import TERMS
from model.loss import Counts, Terms, terms, total
from model.tacotron2 import Outputs, Tacotron2


class Update:
    """Forward, loss, backward, clip, step. A step whose loss or gradient is not finite changes nothing.

    `rate` and `guided_weight` are tensors, so that a captured step reads their current values.
    """

    def __init__(self, network: Tacotron2, config: Config, mel_std: float, dtype: torch.dtype, device: torch.device) -> None:
        self.network, self.config, self.device, self.dtype = network, config, device, dtype
        self.mel_std = torch.tensor(mel_std, device=device)
        self.rate, self.guided_weight = torch.zeros((), device=device), torch.zeros((), device=device)
        training = config.training
        self.optimiser = torch.optim.Adam(
            network.parameters(),
            lr=self.rate,
            eps=training.adam_epsilon,
            weight_decay=training.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        self.optimiser._warned_capturable_if_run_uncaptured = True  # the first updates run uncaptured
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def __call__(self, parts: Sequence[Batch]) -> tuple[Tensor, list[Outputs]]:
        """Train on a batch, in one part or in several whose gradients add up. Return its record (7,) and the outputs."""
        sums, outputs, before = self.gradients(parts, Counts.of(parts, self.config.network.reduction))
        return self.step(sums, before), outputs

    def gradients(self, parts: Sequence[Batch], counts: Counts) -> tuple[Tensor, list[Outputs], list[Tensor]]:
        """Compute the gradients of the parts' sum into the parameters.

        Return the terms and the loss (5,), the network's outputs, and copies of its buffers from before.
        """
        self.network.train()
        before = [buffer.clone() for buffer in self.network.buffers()]
        self.optimiser.zero_grad(set_to_none=True)
        outputs, summands = [], []
        try:
            for batch in parts:
                output, values, loss = self._forward(batch, counts)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                outputs.append(output.detach())  # frees what the backward pass needed
                summands.append(torch.cat([values.stacked(), loss.detach()[None]]))
                del output, values, loss
        except (RuntimeError, MemoryError):
            self._put_back(before)  # a batch that did not fit is tried again in parts, and must not count twice
            raise
        sums = torch.stack(summands).sum(0) if summands else torch.zeros(len(TERMS) + 1, device=self.device)
        return sums, outputs, before

    def step(self, sums: Tensor, before: list[Tensor]) -> Tensor:
        """Clip the gradients and step, or restore the buffers to `before` if the step is not finite. Return the record (7,)."""
        scale = self.scaler.scale(torch.ones((), device=self.device))  # read without waiting
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.training.clip_norm)
        finite = norm.isfinite() & sums[-1].isfinite()
        # A fused optimiser changes nothing where this, normally set by a scaler, is 1.
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        self.scaler.update()
        for buffer, old in zip(self.network.buffers(), before, strict=True):  # batch norm's running statistics
            buffer.copy_(buffer.where(finite, old))
        return torch.stack([*sums[:4], norm, sums[-1], scale])

    def _put_back(self, buffers: list[Tensor]) -> None:
        """Give the network's buffers, batch norm's running statistics, their earlier values."""
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return  # what is only recorded has changed nothing
        with torch.no_grad():
            for buffer, old in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(old)

    def restart(self) -> None:
        """Forget a step that was begun and not taken."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.scaler.is_enabled():  # it refuses to unscale twice in a step
            state = self.scaler.state_dict()
            self.scaler = torch.amp.GradScaler(self.device.type)
            self.scaler.load_state_dict(state)

    def restore(self, optimiser: dict[str, Any], scaler: dict[str, Any]) -> None:
        """Continue from the states of a snapshot."""
        self.optimiser.load_state_dict(deepcopy(optimiser))  # it would take the snapshot's own tensors, and change them
        for group in self.optimiser.param_groups:
            group.update(lr=self.rate, capturable=self.device.type == "cuda")
        if scaler:
            self.scaler.load_state_dict(scaler)

    def _forward(self, batch: Batch, counts: Counts) -> tuple[Outputs, Terms, Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.network(batch)
        parts = terms(outputs, batch, self.mel_std, self.config.loss, counts)
        return outputs, parts, total(parts, self.config.loss, self.guided_weight)
