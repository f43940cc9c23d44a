"""Train one Tacotron 2: a generator that yields reports. It writes nothing, prints nothing and is independent of trials."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.averaging import Average
from model.config import Config
from model.cpu.malloc import keep_freed_memory
from model.cpu.processor import processor
from model.cuda_graphs import CapturedUpdate
from model.data.batching import Batches
from model.data.loading import Example, Loader
from model.distributed import DistributedUpdate, Group
from model.health import RECORD, ReportWindow, average, finite_or_none, measure
from model.loss import terms
from model.memory import free_cached, in_parts, out_of_memory
from model.recorder import NotRecordedError
from model.report import Health, Losses, Report
from model.schedule import current_rate
from model.snapshot import Cursor, Snapshot
from model.tacotron2 import Outputs, Tacotron2
from model.train_step import Update

VALIDATION_BATCH = 32  # utterances
VALIDATION_SIGMA = 0.2  # of the guided term, so that it is comparable between trials
WIDE = 512  # features of the attention LSTM: on a CPU with bf16 it saves a third of an update at 1,024, a seventh at 256
VALIDATION_SEED = 20_170_712  # all trials validate with the same prenet dropout


@dataclass(frozen=True, slots=True)
class Speech:
    """The data that a voice is trained on."""

    train: Sequence[Example]
    validation: Sequence[Example]
    symbols: tuple[str, ...]  # the table of the examples' ids: the network has an embedding for each of them
    mel_mean: float  # over all frames and bands of `train`
    mel_std: float


def precision(config: Config, device: torch.device) -> torch.dtype:
    """Return the type of the matrix products. Raises ValueError for fp16 on a CPU.

    `auto` is bf16 on a GPU that has it, else fp16; on a CPU it is bf16 if the processor was measured to multiply
    faster in it and the network is wide enough to gain, else fp32.
    """
    wanted = config.training.precision
    if wanted == "fp16" and device.type == "cpu":
        raise ValueError("training.precision fp16 needs a GPU, the device is the CPU: choose auto, bf16 or fp32")
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    if device.type == "cpu":
        half = processor().half_is_fast and config.network.attention_rnn >= WIDE
        return torch.bfloat16 if half else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class Trainer:
    """Trains `config` on `speech` for `budget_kframes` thousand valid mel frames.

    `reports()` yields at `reports` evenly spaced numbers of frames, on the same grid for every batch size; if one update
    crosses two marks, only the second is reported. While the caller handles a report, the weights do not change.
    `seed` fixes everything random: weights, order of the data, dropout. `start` continues from a snapshot. `graphs`: whether a
    GPU may record the updates.

    The ranks of a `group` construct identical trainers, `start` included, stay identical and yield the same; rank 0 validates.
    Its snapshot serves all ranks: with as many of them a resume is exact; with more or fewer the batches are the same, while
    their division and dropout differ.
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
        group: Group | None = None,
        graphs: bool = True,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(seed)
        self.config, self.speech, self.device, self.group = config, speech, device, group
        self.budget, self.grid = budget_kframes * 1_000, reports
        units = (speech.mel_mean, speech.mel_std) if config.network.standardise else (0.0, 1.0)
        self.network = Tacotron2(config.network, len(speech.symbols), config.audio.mel_bands, *units).to(device)
        self.network.mean_frame = (speech.mel_mean - units[0]) / units[1]
        self.update = Update(self.network, config, speech.mel_std, precision(config, device), device)
        self.average = Average(self.network, config.training.average) if config.training.average else None
        self.cursor = Cursor()
        self.window = ReportWindow(config.training.clip_norm)
        self.indices: list[int] = []  # of the last batch
        if start is not None:
            self._restore(start)
        self.train, self.validation = Loader(speech.train, device), Loader(speech.validation, device)
        self.batches = Batches(
            self.train.frames.tolist(),
            config.training.batch_size,
            seed,
            epoch=self.cursor.epoch,
            index=self.cursor.batch,
            batch_frames=config.training.batch_frames,
        )
        self.distributed = None if group is None else DistributedUpdate(self.update, self.train, group, seed)
        self.remarks: list[str] = []  # sentences for the user, about how it trains from now on
        self.graphs = graphs and group is None and device.type == "cuda"
        self.captured = self._captured()

    def _captured(self) -> CapturedUpdate | None:
        """Return what records updates of whole batches; None where it cannot. Batches of frames have too many shapes."""
        if not self.graphs or self.cursor.part is not None or self.config.training.batch_frames:
            return None
        return CapturedUpdate(self.update, self.train, min(self.config.training.batch_size, len(self.speech.train)))

    def roll_back(self, snapshot: Snapshot) -> None:
        """Take weights, optimiser and averaged weights from a snapshot, and continue at the present place of the budget."""
        self.drop_recorded()  # the optimiser's tensors will be others
        self.network.load_state_dict(snapshot.weights)
        self.update.restore(snapshot.optimiser, snapshot.scaler)
        if self.average is not None and snapshot.average:
            self.average.restore(snapshot.average)
        self.window.records, self.window.running = [], 0
        self.captured = self._captured()

    def drop_recorded(self) -> None:
        """Free the memory of recorded updates."""
        if self.captured is not None:
            self.captured = None
            self.update.optimiser.zero_grad(set_to_none=True)  # gradients live in the memory of the graphs

    def reports(self) -> Iterator[Report]:
        """Yield the reports: one for each mark of the grid."""
        return (report for report in self.steps() if report is not None)

    def steps(self) -> Generator[Report | None, None, None]:
        """Yield an item for each update: a report if the update reached a mark of the grid, else None."""
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
        """Return the guided weight: full until a validation is aligned, then halved every `guided_halflife_share`."""
        loss, aligned_at = self.config.loss, self.cursor.aligned_at
        if aligned_at is None:
            return loss.guided_weight
        halvings = (self.cursor.frames - aligned_at) / (loss.guided_halflife_share * self.budget)
        return float(loss.guided_weight * 0.5**halvings)

    def _mark(self) -> int:
        """Return the last mark of the grid that the frames have reached."""
        return min(self.grid, int(self.cursor.frames * self.grid / self.budget))

    def _update(self) -> Health | None:
        """Run one step of the optimiser. Return the health of its batch if it reached a mark of the grid, else None."""
        indices = next(self.batches)
        cursor = self.cursor
        cursor.frames += int(self.train.frames[indices].sum())
        cursor.updates += 1
        cursor.epoch, cursor.batch = self.batches.epoch, self.batches.index
        self.update.rate.fill_(current_rate(self.config.training, cursor, self.budget))
        self.update.guided_weight.fill_(self.guided_weight())
        self.indices = indices
        record, outputs = self._step(indices)
        self.window.records.append(record)
        if self.average is not None:
            self.average.update()
        if self._mark() <= cursor.mark:
            return None
        measured = [measure(output, self.config) for output in outputs]
        if self.group is not None:
            measured = self.group.gather([{name: value.cpu() for name, value in part.items()} for part in measured])
        return average(measured, self.config.network.reduction)

    def _step(self, indices: list[int]) -> tuple[Tensor, list[Outputs]]:
        """Run the update of a batch; out of memory, halve it until its parts fit and add up their gradients.

        Raises the allocator's error if a single utterance does not fit.
        """
        while True:
            size = min(self.cursor.part or len(indices), len(indices))
            try:
                if self.captured is not None and size == len(indices):
                    return self.captured(indices)
                parts = [indices[start : start + size] for start in range(0, len(indices), size)]
                if self.distributed is not None:
                    return self.distributed(parts, self.cursor.updates)
                return self.update([self.train(part) for part in parts])
            except NotRecordedError as why:
                self.release(f"they could not be recorded: {why}")
            except (RuntimeError, MemoryError) as why:
                if (size == 1 and self.captured is None) or not out_of_memory(why):
                    raise
                if not self.release():
                    self.cursor.part = -(-size // 2)
            self.update.restart()
            free_cached(self.device)

    def release(self, why: str = "the memory of their graphs is needed") -> bool:
        """Give up recorded updates for good, and the memory that they hold. Return False where there are none."""
        if self.captured is None:
            return False
        self.drop_recorded()
        self.graphs = False
        self.remarks.append(f"updates are launched kernel by kernel from here on, which is slower: {why}")
        return True

    def _report(self, train_health: Health) -> Report:
        """Validate, and close the window of updates since the last report."""
        gradients, train = self.window.close()
        validation, health = self.validate() if self.group is None else self.group.on_rank_0(self.validate)
        score = health.alignment_score
        if self.cursor.aligned_at is None and score is not None and score >= self.config.loss.guided_until:
            self.cursor.aligned_at = self.cursor.frames
        return Report(
            kframes=round(self.cursor.mark * self.budget / self.grid / 1_000, 3),
            updates=self.cursor.updates,
            seconds=self.cursor.seconds,
            learning_rate=float(self.update.rate),
            guided_weight=self.guided_weight(),
            train=train,
            validation=validation,
            gradients=gradients,
            health=health,
            train_health=train_health,
        )

    @torch.no_grad()
    def validate(self) -> tuple[Losses, Health]:
        """Validate under teacher forcing. Prenet dropout is seeded: trials of equal r use the same masks.

        The state of the random generators is restored afterwards.
        """
        self.network.eval()
        order = np.argsort(self.validation.frames, kind="stable").tolist()
        loss = replace(self.config.loss, guided_sigma=VALIDATION_SIGMA)
        size = min(VALIDATION_BATCH, self.cursor.part or VALIDATION_BATCH)

        def run(indices: list[int]) -> tuple[np.ndarray, np.ndarray, dict[str, Tensor]]:
            batch = self.validation(indices)
            outputs = self.network(batch)
            means = terms(outputs, batch, self.update.mel_std, loss).stacked().double().cpu().numpy()
            frames, steps = int(self.validation.frames[indices].sum()), int(outputs.step_lengths.sum())
            return means, np.array([frames, frames, steps, steps]), measure(outputs, self.config)

        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(VALIDATION_SEED)
            parts = in_parts(order, size, run, self.release, self.device)
        means, counts, measured = zip(*parts, strict=True)
        totals = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
        return Losses(*map(finite_or_none, totals)), average(list(measured), self.config.network.reduction)

    def snapshot(self) -> Snapshot:
        """Return the state after the last item of `steps`. Its tensors are the trainer's own: save or copy it."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        records = self.window.records
        return Snapshot(
            symbols=self.speech.symbols,
            cursor=replace(self.cursor),
            weights=self.network.state_dict(),
            optimiser=self.update.optimiser.state_dict(),
            scaler=self.update.scaler.state_dict(),
            random=states,
            average={} if self.average is None or not self.average.updates else self.average.state(),
            window={
                "records": torch.stack(records) if records else torch.empty(0, len(RECORD)),
                "running": self.window.running,
            },
        )

    def _restore(self, snapshot: Snapshot) -> None:
        if snapshot.symbols != self.speech.symbols:
            needed, found = ("".join(symbols) for symbols in (self.speech.symbols, snapshot.symbols))
            rule = f"need a snapshot for the symbols {needed!r}, got one for {found!r}"
            raise ValueError(f"{rule}: continue it with the language that it was trained on")
        self.cursor = replace(snapshot.cursor)
        self.network.load_state_dict(snapshot.weights)
        self.update.restore(snapshot.optimiser, snapshot.scaler)
        self.window.records = list(snapshot.window["records"].to(self.device).unbind())
        self.window.running = snapshot.window["running"]
        if self.average is not None and snapshot.average:
            self.average.restore(snapshot.average)
        torch.set_rng_state(snapshot.random["cpu"])
        if self.device.type == "cuda" and "cuda" in snapshot.random:
            torch.cuda.set_rng_state(snapshot.random["cuda"], self.device)
