"""Train one Tacotron 2: a straight line that yields reports. It writes nothing, prints nothing and knows no trial."""
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.config import Config, Training
from model.data.batching import Batch, Batches, Example, collate
from model.health import GradientWindow, measure_alignment, measure_gate, stop_f1
from model.loss import Terms, terms, total
from model.report import Health, Losses, Report
from model.snapshot import Cursor, Snapshot
from model.tacotron2 import Outputs, Tacotron2

VALIDATION_BATCH = 32  # utterances
VALIDATION_SIGMA = 0.2  # of the guided term, so that it means the same in every trial
VALIDATION_SEED = 20_170_712  # every trial validates with the same prenet dropout


@dataclass(frozen=True, slots=True)
class Speech:
    """What a voice is trained on."""

    train: Sequence[Example]
    validation: Sequence[Example]
    symbols: int  # size of the alphabet
    mel_mean: float  # over all frames and bands of `train`
    mel_std: float


def learning_rate(training: Training, progress: float) -> float:
    """The rate at a share `progress` of the frame budget, so that a schedule fits any budget and batch size."""
    warmup = training.warmup_share
    if progress < warmup:
        return training.learning_rate * progress / warmup
    if training.schedule == "cosine":
        return training.learning_rate * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    if training.schedule == "noam":
        return training.learning_rate * math.sqrt(warmup / progress)
    return training.learning_rate


def precision(training: Training, device: torch.device) -> torch.dtype:
    """The type of the matrix products: bf16 where a GPU has it, else fp16 there, fp32 on a CPU. ValueError for fp16 there."""
    if training.precision == "fp16" and device.type == "cpu":
        raise ValueError("training.precision fp16 needs a GPU, the device is the CPU: choose auto, bf16 or fp32")
    if training.precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[training.precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class Trainer:
    """Trains `config` on `speech` for `budget_kframes` thousand valid mel frames.

    `reports()` yields at `reports` evenly spaced numbers of frames, the same grid whatever the batch size; where one update
    crosses two points, only the second is reported. Between two reports the weights do not move under a reader.
    `seed` fixes everything random: weights, order of the data, dropout. `start` continues from a snapshot.
    """

    def __init__(
        self,
        config: Config,
        speech: Speech,
        budget_kframes: float,
        reports: int,
        device: torch.device,
        seed: int,
        start: Snapshot | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.config, self.speech, self.device = config, speech, device
        self.budget, self.grid = budget_kframes * 1_000, reports
        self.network = Tacotron2(
            config.network, speech.symbols, config.audio.mel_bands, speech.mel_mean, speech.mel_std
        ).to(device)
        training = config.training
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=training.learning_rate,
            eps=training.adam_epsilon,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self.dtype = precision(training, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.cursor = Cursor()
        self.gradients = GradientWindow(training.clip_norm)
        self.losses: list[Tensor] = []  # (4,) each: mel_before, mel_after, gate, guided
        if start is not None:
            self._restore(start)
        self.batches = Batches(
            [len(example.mel) for example in speech.train], training.batch_size, seed, self.cursor.batches
        )

    def reports(self) -> Iterator[Report]:
        """The reports alone: one for each point of the grid."""
        return (report for report in self.steps() if report is not None)

    def steps(self) -> Generator[Report | None, None, None]:
        """One item for each update: a report where the update reached a point of the grid, else None."""
        while self.cursor.frames < self.budget:
            started = time.perf_counter()
            health = self._update()
            report = None
            if health is not None:
                self.cursor.mark = self._mark()
                report = self._report(health)
            self.cursor.seconds += time.perf_counter() - started
            yield None if report is None else replace(report, seconds=self.cursor.seconds)

    def guided_weight(self) -> float:
        """Full until a validation shows an alignment, then halved every `guided_halflife_share` of the budget."""
        loss, aligned_at = self.config.loss, self.cursor.aligned_at
        if aligned_at is None:
            return loss.guided_weight
        halvings = (self.cursor.frames - aligned_at) / (loss.guided_halflife_share * self.budget)
        return float(loss.guided_weight * 0.5**halvings)

    def _mark(self) -> int:
        """The last point of the grid that the frames have reached."""
        return min(self.grid, int(self.cursor.frames * self.grid / self.budget))

    def _update(self) -> Health | None:
        """One step of the optimiser. How its batch was aligned where it reaches a point of the grid, else None."""
        batch = collate([self.speech.train[index] for index in next(self.batches)]).to(self.device)
        self.cursor.frames += batch.frames
        self.cursor.updates += 1
        self.cursor.batches = self.batches.consumed
        rate = learning_rate(self.config.training, min(1.0, self.cursor.frames / self.budget))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.network(batch)
        parts = terms(outputs, batch, self.network.mel_std, self.config.loss)
        loss = total(parts, self.config.loss, self.guided_weight())
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.training.clip_norm)
        if bool(torch.isfinite(norm)) and bool(torch.isfinite(loss)):
            self.gradients.finite(norm)
            self.losses.append(_stacked(parts))
            self.scaler.step(self.optimiser)
        else:
            settling = self.scaler.is_enabled() and self.scaler.get_scale() > 1 and bool(torch.isfinite(loss))
            if not settling:
                self.gradients.skipped(_culprit(parts))
        self.scaler.update()
        reached = self._mark() > self.cursor.mark
        return _health([_measure(batch, outputs)], self.config.network.reduction) if reached else None

    def _report(self, train_health: Health) -> Report:
        train = torch.stack(self.losses).mean(0).tolist() if self.losses else [None] * 4
        self.losses = []
        validation, health = self.validate()
        score = health.alignment_score
        if self.cursor.aligned_at is None and score is not None and score >= self.config.loss.guided_until:
            self.cursor.aligned_at = self.cursor.frames
        return Report(
            kframes=round(self.cursor.mark * self.budget / self.grid / 1_000, 3),
            updates=self.cursor.updates,
            seconds=self.cursor.seconds,
            learning_rate=self.optimiser.param_groups[0]["lr"],
            guided_weight=self.guided_weight(),
            train=Losses(*train),
            validation=validation,
            gradients=self.gradients.close(),
            health=health,
            train_health=train_health,
        )

    @torch.no_grad()
    def validate(self) -> tuple[Losses, Health]:
        """Teacher-forced, with seeded prenet dropout: trials of one r see the same masks. Training's randomness stays."""
        self.network.eval()
        order = np.argsort([len(example.mel) for example in self.speech.validation], kind="stable").tolist()
        loss = replace(self.config.loss, guided_sigma=VALIDATION_SIGMA)
        sums, frames, steps = np.zeros(4), 0, 0
        measured: list[dict[str, Tensor]] = []
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(VALIDATION_SEED)
            for start in range(0, len(order), VALIDATION_BATCH):
                batch = collate([self.speech.validation[i] for i in order[start : start + VALIDATION_BATCH]]).to(self.device)
                outputs = self.network(batch)
                means = _stacked(terms(outputs, batch, self.network.mel_std, loss)).double().cpu().numpy()
                count = int(outputs.step_lengths.sum())
                sums += means * (batch.frames, batch.frames, count, count)
                frames, steps = frames + batch.frames, steps + count
                measured.append(_measure(batch, outputs))
        losses = Losses(*(_number(value) for value in sums / (frames, frames, steps, steps)))
        return losses, _health(measured, self.config.network.reduction)

    def snapshot(self) -> Snapshot:
        """The state after the last item that `steps` yielded. It refers to the living tensors: save it, or copy it."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        window = self.gradients
        return Snapshot(
            cursor=replace(self.cursor),
            weights=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            scaler=self.scaler.state_dict(),
            random=states,
            window={
                "norms": torch.stack(window.norms) if window.norms else torch.empty(0),
                "losses": torch.stack(self.losses) if self.losses else torch.empty(0, 4),
                "counts": [window.nonfinite, window.streak, window.running],
                "culprit": window.culprit,
            },
        )

    def _restore(self, snapshot: Snapshot) -> None:
        self.cursor = replace(snapshot.cursor)
        self.network.load_state_dict(snapshot.weights)
        self.optimiser.load_state_dict(snapshot.optimiser)
        if snapshot.scaler:
            self.scaler.load_state_dict(snapshot.scaler)
        window: dict[str, Any] = snapshot.window
        self.gradients.norms = list(window["norms"].to(self.device).unbind())
        self.losses = list(window["losses"].to(self.device).unbind())
        self.gradients.nonfinite, self.gradients.streak, self.gradients.running = window["counts"]
        self.gradients.culprit = window["culprit"]
        torch.set_rng_state(snapshot.random["cpu"])
        if self.device.type == "cuda" and "cuda" in snapshot.random:
            torch.cuda.set_rng_state(snapshot.random["cuda"], self.device)


def _stacked(parts: Terms) -> Tensor:
    """(4,) without a graph, in the order of `Losses`."""
    return torch.stack([parts.mel_before, parts.mel_after, parts.gate, parts.guided]).detach()


def _culprit(parts: Terms) -> str:
    named = ("mel_before", "mel_after", "gate", "guided")
    broken = [name for name in named if not bool(torch.isfinite(getattr(parts, name)))]
    return broken[0] if broken else "gradient"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _measure(batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
    """(B,) each."""
    steps = outputs.step_lengths
    return measure_alignment(outputs.alignment, steps, batch.symbol_lengths) | measure_gate(outputs.gate, steps)


def _health(measured: list[dict[str, Tensor]], reduction: int) -> Health:
    """Means over all utterances; None where nothing could be measured."""
    joined = {name: torch.cat([part[name] for part in measured]).double() for name in measured[0]}
    mean = {name: _number(float(values.nanmean())) for name, values in joined.items()}
    error = mean["stop_error"]
    return Health(
        **{name: mean[name] for name in ("diagonality", "focus", "coverage", "backtrack", "order", "alignment_score")},
        gate_accuracy=mean["gate_accuracy"],
        stop_f1=stop_f1(joined["stop_hit"], joined["stop_predicted"]),
        stop_error=None if error is None else error * reduction,
    )
