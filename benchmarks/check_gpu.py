"""Check what this GPU computes: `python -m benchmarks.check_gpu`. The exit code is 0, or 1 if a check fails.

recurrence   its outputs and gradients, against the reference in float64 on the same device, in memory full of NaN, twice
recorded     updates that are recorded as graphs, against the same updates launched kernel by kernel
resumed      a trainer that continues from a snapshot, dropout on, against one that was never stopped
synthesis    on the GPU, against the CPU
memory       training where a batch does not fit, or on GPUs that have no more than --gb

Seeds are fixed, so nothing depends on luck. Needs torch, NumPy and Triton only. `--device cpu` runs what a CPU can of it, with
small networks: it tests these checks where there is no GPU.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import inf
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.checks import Case, run, write
from model.config import Config, Network, Training
from model.data.loading import Example
from model.recurrence import Inputs, Weights, attend, implementation
from model.selftest import (
    HALF_BOUND,
    TENSOR_CORES,
    UPDATE_BOUND,
    difference,
    draw,
    recording_fails,
    relative_errors,
    worst_of,
)
from model.snapshot import Snapshot
from model.synthesis import synthesise
from model.tacotron2 import Tacotron2
from model.trainer import Speech, Trainer, precision

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}  # relative errors, in norm, of outputs and gradients
SIZES = {"full": (1024, 512, 128, 31), "odd": (72, 40, 24, 5)}  # A, E, D, K
SHAPES = {  # T, B, N
    "usual": (60, 64, 100),
    "long": (200, 8, 190),
    "one utterance": (40, 1, 60),
    "one symbol": (10, 3, 1),
    "one step": (1, 33, 90),
}
TINY_STEPS = 6  # at most, with --tiny
SMALL = {"embedding": 32, "encoder": 32, "prenet": 16, "attention_rnn": 48, "decoder_rnn": 48, "attention": 16, "postnet": 32}
STILL = dict.fromkeys((f"{part}_dropout" for part in ("encoder", "prenet", "attention", "decoder", "postnet")), 0.0)
SYMBOLS = 40
UPDATES = 6  # of a comparison; the first two of a shape are not recorded
SYNTHESIS_BOUND = 1e-3  # relative difference of mels, in norm
FRAMES = 200  # of a synthesis


@dataclass(frozen=True, slots=True)
class Bench:
    """The device that is checked, and how thoroughly."""

    device: torch.device
    tiny: bool = False  # odd sizes and few steps only
    gb: tuple[float, ...] = ()  # memory of the GPUs that are imitated

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def recurrence(self) -> str:
        """The implementation that `auto` stands for where kernels work."""
        old = self.gpu and torch.version.hip is None and torch.cuda.get_device_capability(self.device) < TENSOR_CORES
        return "deferred" if old else implementation("auto", self.device)

    @property
    def half(self) -> torch.dtype:
        return precision(Config(), self.device) if self.gpu else torch.bfloat16

    def config(self, training: Training, **network: object) -> Config:
        """Return a configuration with the full network, or on a CPU with a small one."""
        sizes = {} if self.gpu else SMALL
        return Config(network=Network(**{"recurrence": self.recurrence, **sizes, **network}), training=training)  # type: ignore[arg-type]

    def trainer(self, config: Config, speech: Speech, graphs: bool, start: Snapshot | None = None) -> Trainer:
        return Trainer(config, speech, 1e9, 1, self.device, seed=3, start=start, graphs=graphs)


def recurrence(bench: Bench) -> Iterator[Case]:
    sizes = {"odd": SIZES["odd"]} if bench.tiny else SIZES
    for size, shape, kind, dropout in product(sizes, SHAPES, (torch.float32, bench.half), (False, True)):
        T, B, N = SHAPES[shape]
        drawn = partial(draw, SIZES[size], (min(T, TINY_STEPS) if bench.tiny else T, B, N), dropout, bench.device)
        name = f"recurrence {bench.recurrence}, {size}, {shape}, {str(kind)[6:]}, {'with' if dropout else 'without'} dropout"
        yield Case(name, partial(_largest_error, bench.recurrence, drawn, kind), BOUNDS[kind])


def _largest_error(how: str, drawn: Callable[[], tuple[Inputs, Weights]], kind: torch.dtype) -> tuple[float, str]:
    """Return the largest relative error of all outputs and gradients, and the name of that tensor."""
    torch.manual_seed(0)
    errors = relative_errors(lambda inputs, weights, _: attend(inputs, weights, how), drawn(), kind)
    worst = worst_of(errors)
    return errors[worst], f"{worst}, of two runs" if errors[worst] == inf else worst


def recorded(bench: Bench) -> Iterator[Case]:
    what = f"{UPDATES} {'recorded' if bench.gpu else 'eager'} updates against eager ones"
    yield Case(f"{what}, float32, without dropout", partial(_against_eager, bench, "fp32", STILL), UPDATE_BOUND)
    if bench.half == torch.bfloat16:  # float16 may skip its first steps, whose norms are infinite
        yield Case(f"{what}, bfloat16, with dropout", partial(_against_eager, bench, "bf16", {}), HALF_BOUND)
    for mode in ("outputs", "state") if bench.gpu else ():
        yield Case(f"recorded updates, float32, dropout on the decoder's {mode}", partial(_recording, bench, mode))


def _against_eager(bench: Bench, kind: str, network: dict[str, float]) -> tuple[float, str]:
    """Return the largest relative difference between the records of two trainers, of which one may record its updates."""
    config = bench.config(Training(batch_size=16, precision=kind, warmup_share=0.0), **network)
    data = speech(16, 30, 45)  # a single batch: recorded or not, it is padded to the same length
    one, other = (advance(bench.trainer(config, data, graphs), graphs and bench.gpu) for graphs in (True, False))
    return difference(one, other), ""


def _recording(bench: Bench, mode: str) -> tuple[None, str]:
    why = recording_fails(bench.config(Training(), decoder_dropout_mode=mode).network, torch.float32, bench.device)
    assert why is None, why
    return None, ""


def resumed(bench: Bench) -> Iterator[Case]:
    kind = "bf16" if bench.half == torch.bfloat16 else "fp32"
    yield Case(f"resumed without graphs, {kind}, by deterministic algorithms", partial(_resumed, bench, kind, False), 0.0)
    if bench.gpu:
        yield Case("resumed with graphs, fp32", partial(_resumed, bench, "fp32", True), UPDATE_BOUND)


def _resumed(bench: Bench, kind: str, graphs: bool) -> tuple[float, str]:
    """Return the largest relative difference between the updates after a snapshot and those of the trainer that goes on."""
    config, data = bench.config(Training(batch_size=8, precision=kind, warmup_share=0.0)), speech(24, 36, 36)
    with nullcontext() if graphs else deterministic():
        whole = bench.trainer(config, data, graphs)
        advance(whole, graphs)
        snapshot = Snapshot.from_dict(deepcopy(whole.snapshot().as_dict()))
        expected = advance(whole, graphs)
        got = advance(bench.trainer(config, data, graphs, snapshot), graphs)
    return difference(got, expected), "bit for bit" if torch.equal(got, expected) else "not bit for bit"


@contextmanager
def deterministic() -> Iterator[None]:
    """Let libraries choose algorithms that always add up in the same order; where they have none, a warning names it."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def synthesis(bench: Bench) -> Iterator[Case]:
    yield Case(f"synthesis against the CPU, mel of {FRAMES} frames", partial(_synthesis, bench), SYNTHESIS_BOUND)


def _synthesis(bench: Bench) -> tuple[float, str]:
    """Return the relative difference of the mels that the same weights synthesise from the same sentences."""
    torch.manual_seed(3)
    config = bench.config(Training())
    network = Tacotron2(config.network, SYMBOLS, config.audio.mel_bands)
    ids, lengths = torch.randint(1, SYMBOLS, (3, 20)), torch.tensor([20, 14, 9])
    frames = torch.full_like(lengths, FRAMES)

    def say(device: torch.device) -> Tensor:
        """Return mels (3, FRAMES, bands): no stop token exceeds a threshold of 2."""
        texts = (part.to(device) for part in (ids, lengths))
        spoken = synthesise(network.to(device), *texts, threshold=2, completed_frames=None, most_frames=frames.to(device))
        return spoken.mel.cpu()

    here, there = say(bench.device), say(torch.device("cpu"))
    return float((here - there).norm() / there.norm()), ""


def memory(bench: Bench) -> Iterator[Case]:
    if bench.gpu and not bench.gb:
        yield Case("training where a batch does not fit, GB", partial(_starved, bench))
    for gb in bench.gb if bench.gpu else ():
        yield Case(f"training on a GPU of {gb:g} GB, 64 long utterances, GB", partial(_limited, bench, gb), gb)


def _starved(bench: Bench) -> tuple[float, str]:
    """Train with half of the memory that a batch needs beside weights and moments."""
    trainer = bench.trainer(bench.config(Training(batch_size=64)), speech(64, 400, 870), graphs=False)
    steps = trainer.steps()
    next(steps)
    torch.cuda.reset_peak_memory_stats(bench.device)
    kept = torch.cuda.memory_allocated(bench.device)
    next(steps)
    needed = torch.cuda.max_memory_allocated(bench.device)
    del trainer, steps
    peak, how = _limited(bench, (kept + needed) / 2e9)
    assert "graph" in how, f"need graphs that are given up, got {how}"
    assert "parts" in how, f"need a batch in parts, got {how}"
    return peak, how


def _limited(bench: Bench, gb: float) -> tuple[float, str]:
    """Train to a report with at most `gb` of the GPU's memory; return the peak in GB, and how it was done."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(bench.device)
    total, data = torch.cuda.mem_get_info(bench.device)[1], speech(64, 400, 870)
    budget = UPDATES * sum(len(example.mel) for example in data.train) / 1e3
    torch.cuda.set_per_process_memory_fraction(min(1.0, gb * 1e9 / total), bench.device)
    try:
        trainer = Trainer(bench.config(Training(batch_size=64)), data, budget, 1, bench.device, seed=3)
        (report,) = trainer.reports()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
    assert report.val_loss is not None, "the loss is not finite"
    assert trainer.captured is not None or trainer.remarks, "graphs were given up without a word"
    part = "whole batches" if trainer.cursor.part is None else f"batches in parts of {trainer.cursor.part}"
    return torch.cuda.max_memory_reserved(bench.device) / 1e9, "; ".join([part, *trainer.remarks])


def speech(utterances: int, shortest: int, longest: int) -> Speech:
    """Draw utterances of noise with `shortest` to `longest` frames, and a symbol for five of them."""
    random = np.random.default_rng(0)
    examples = [
        Example(tuple(random.integers(1, SYMBOLS, n // 5).tolist()), random.standard_normal((n, 80)).astype(np.float32))
        for n in random.integers(shortest, longest + 1, utterances)
    ]
    return Speech(examples, examples[:2], tuple(map(str, range(SYMBOLS))), mel_mean=0.0, mel_std=1.0)


def advance(trainer: Trainer, recorded: bool) -> Tensor:
    """Train for UPDATES updates, of which some must be `recorded`; return their records (UPDATES, 7)."""
    steps = trainer.steps()
    for _ in range(UPDATES):
        next(steps)
    if recorded:
        assert trainer.captured is not None, "; ".join(trainer.remarks)
        assert trainer.captured.recorded, "no update was recorded"
    return torch.stack(trainer.window.records[-UPDATES:])


CHECKS = {check.__name__: check for check in (recurrence, recorded, resumed, synthesis, memory)}


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--checks", nargs="+", choices=tuple(CHECKS), default=tuple(CHECKS), help="which (default: all)")
    parser.add_argument("--tiny", action="store_true", help="recurrence: odd sizes and few steps only")
    parser.add_argument("--gb", nargs="+", type=float, default=(), help="memory: of the GPUs to imitate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every check with its figure and its bound")
    arguments = parser.parse_args(typed)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("device cuda: need a CUDA device, torch finds none: choose --device cpu", file=sys.stderr)
        return 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product; for the same sums each time
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = torch.device(arguments.device)
    bench = Bench(device, arguments.tiny or device.type == "cpu", tuple(arguments.gb))
    done = run(case for name in arguments.checks for case in CHECKS[name](bench))
    print(f"{sum(check.holds for check in done)} of {len(done)} checks hold")
    if arguments.json is not None:
        write(arguments.json, done)
    return 0 if all(check.holds for check in done) else 1


if __name__ == "__main__":
    sys.exit(main())
