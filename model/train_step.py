"""One step of the optimiser. The host never waits for the device: what it wants to know is kept there, in a record per step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model.config import Config
from model.data.loading import Batch
from model.health import TERMS
from model.loss import Counts, Terms, terms, total
from model.tacotron2 import Outputs, Tacotron2


class Update:
    """Forward, loss, backward, clip, step; a step whose loss or gradient is not finite changes nothing.

    `rate` and `guided_weight` are tensors, so that a captured step reads their present values.
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
        self.optimiser._warned_capturable_if_run_uncaptured = True  # as the first updates are
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def __call__(self, parts: Sequence[Batch]) -> tuple[Tensor, list[Outputs]]:
        """A batch, whole or in parts whose gradients are added up -> its record (7,) and what the network said."""
        sums, said, before = self.gradients(parts, Counts.of(parts, self.config.network.reduction))
        return self.step(sums, before), said

    def gradients(self, parts: Sequence[Batch], counts: Counts) -> tuple[Tensor, list[Outputs], list[Tensor]]:
        """Leave the gradients of the parts' sum in the parameters -> terms and loss (5,), what was said, the buffers before."""
        self.network.train()
        before = [buffer.clone() for buffer in self.network.buffers()]
        self.optimiser.zero_grad(set_to_none=True)
        said, summed = [], []
        for batch in parts:
            outputs, values, loss = self._forward(batch, counts)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            said.append(outputs.detach())  # nothing that the way back needed outlives it
            summed.append(torch.cat([values.stacked(), loss.detach()[None]]))
            del outputs, values, loss
        sums = torch.stack(summed).sum(0) if summed else torch.zeros(len(TERMS) + 1, device=self.device)
        return sums, said, before

    def step(self, sums: Tensor, before: list[Tensor]) -> Tensor:
        """Clip the gradients and go, or put the buffers back as they were `before` -> the record (7,)."""
        scale = self.scaler.scale(torch.ones((), device=self.device))  # read without waiting
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.training.clip_norm)
        finite = norm.isfinite() & sums[-1].isfinite()
        # What a scaler tells a fused optimiser: leave everything as it is where this is 1.
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        self.scaler.update()
        for buffer, old in zip(self.network.buffers(), before, strict=True):  # batch norm's running statistics
            buffer.copy_(buffer.where(finite, old))
        return torch.stack([*sums[:4], norm, sums[-1], scale])

    def restore(self, optimiser: dict[str, Any], scaler: dict[str, Any]) -> None:
        """Go on from the states of a snapshot."""
        self.optimiser.load_state_dict(optimiser)
        for group in self.optimiser.param_groups:
            group.update(lr=self.rate, capturable=self.device.type == "cuda")
        if scaler:
            self.scaler.load_state_dict(scaler)

    def _forward(self, batch: Batch, counts: Counts) -> tuple[Outputs, Terms, Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.network(batch)
        parts = terms(outputs, batch, self.mel_std, self.config.loss, counts)
        return outputs, parts, total(parts, self.config.loss, self.guided_weight)
