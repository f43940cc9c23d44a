"""Compare training speed with other trainers: `python -m benchmarks.train_step --peer nvidia=DIR --batch 16,32,64`.

Lengths are LJSpeech's (benchmarks/lengths.py), mels are noise, on which speed does not depend. Needs torch and NumPy only. Each
batch size has two comparisons: `same_batch`, all trainers on one batch of typical length; `epoch`, valid frames per second over
batches drawn evenly from an epoch, the peers' at random as they train, ours sorted into buckets. The trainers alternate after
each update and the fastest time of each batch counts, so that a busy moment of the machine affects all of them.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lengths import draw
from benchmarks.peers import Peer, PeerError, peer
from benchmarks.split import split
from model.config import PROFILES, Config
from model.cpu.matmul import product
from model.data.batching import Batches
from model.data.loading import Example
from model.memory import free_cached
from model.trainer import Speech, Trainer, precision

SYMBOLS = 80
UTTERANCES = 13_100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME[=DIR]", help="nvidia=CHECKOUT or torchaudio")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", default="16,32,64", help="batch sizes in utterances (default 16,32,64)")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="full")
    parser.add_argument("--precision", default="auto", help="our precision: auto, fp32, bf16 (default auto); peers run in fp32")
    parser.add_argument("--recurrence", default="auto", help="our recurrence: auto, reference, deferred or cuda (default auto)")
    parser.add_argument("--threads", type=int, default=None, help="threads of the CPU (default: torch's choice)")
    parser.add_argument("--updates", type=int, default=4, help="batches of each epoch that are timed (default 4)")
    parser.add_argument("--repeats", type=int, default=2, help="times each batch is timed (default 2)")
    parser.add_argument("--json", type=Path, default=None, metavar="OUT")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("need a CUDA device for --device cuda, torch finds none: choose --device cpu")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        results = run(arguments)
    except (PeerError, ValueError) as why:
        print(why, file=sys.stderr)
        sys.exit(2)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(arguments.device)
    numbers = arguments.batch.split(",")
    if not all(number.isdecimal() and 1 <= int(number) <= UTTERANCES for number in numbers):
        raise ValueError(f"need batch sizes of 1 to {UTTERANCES} utterances, such as 16,32, got {arguments.batch!r}")
    if min(arguments.updates, arguments.repeats) < 1:
        raise ValueError(f"need --updates and --repeats of at least 1, got {arguments.updates} and {arguments.repeats}")
    sizes = [int(number) for number in numbers]
    results: dict[str, Any] = {"machine": machine(device), "profile": arguments.profile, "ratios": {}, "batches": {}}
    peak = {name: gemm_peak(device, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    results["gemm_tflops"] = peak
    print(results["machine"])
    print("matrix products at best: " + ", ".join(f"{name} {value:.2f} TFLOP/s" for name, value in peak.items()))
    for size in sizes:
        config = configured(arguments, size)
        examples, symbols, frames = corpus(config.audio.mel_bands)
        ours = Ours(config, examples, device)
        trainers: dict[str, Callable[[list[int]], None]] = {"ours": ours}
        for spec in arguments.peer:
            name, trained = peer(spec, config, SYMBOLS, device)
            trainers[name] = _on(trained, examples)
        row = results["batches"][size] = measure(trainers, frames, size, arguments, device)
        kind = ours.precision
        row["precision"] = kind
        row["padding_waste"] = ours.waste(size)
        row["gemm_share"] = row["epoch"]["ours"] * flops(config, symbols, frames) / 1e12 / peak.get(kind, peak["bf16"])
        row["memory_gb"] = memory(ours, row["typical"], device)
        row["remarks"] = ours.remarks()
        row["split"] = parts(ours, row["typical"], device)
        show(size, row)
        for name in row["same_batch"]:
            if name != "ours":
                ratios = {key: row[key]["ours"] / row[key][name] for key in ("same_batch", "epoch")}
                results["ratios"].setdefault(name, {})[str(size)] = ratios
                print(f"  ours / {name:12} same batch {ratios['same_batch']:.2f}   epoch {ratios['epoch']:.2f}")
        del trainers, ours
    return results


def configured(arguments: argparse.Namespace, size: int) -> Config:
    """Return the profile's configuration at r = 1, the only one that the peers support."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in PROFILES[arguments.profile].items():
        group, name = key.split(".")
        groups.setdefault(group, {})[name] = value
    groups.setdefault("network", {}).update(reduction=1, recurrence=arguments.recurrence)
    groups.setdefault("training", {}).update(batch_size=size, precision=arguments.precision)
    base = Config()
    return replace(base, **{group: replace(getattr(base, group), **knobs) for group, knobs in groups.items()})


def corpus(bands: int) -> tuple[list[Example], np.ndarray, np.ndarray]:
    """Return examples of noise with LJSpeech's lengths, and their symbols and frames."""
    symbols, frames = draw(UTTERANCES, seed=0)
    random = np.random.default_rng(1)
    noise = (random.standard_normal((frames.max(), bands)) * 2 - 5).astype(np.float32)
    ids = random.integers(1, SYMBOLS, symbols.max()).tolist()
    return [Example(tuple(ids[:n]), noise[:f]) for n, f in zip(symbols, frames, strict=True)], symbols, frames


class Ours:
    """Our trainer, on batches that the benchmark chooses."""

    def __init__(self, config: Config, examples: list[Example], device: torch.device) -> None:
        speech = Speech(examples, examples[:1], tuple(map(str, range(SYMBOLS))), mel_mean=-5.0, mel_std=2.0)
        self.trainer = Trainer(config, speech, 1e9, 1, device, seed=0)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[precision(config, device)]

    def __call__(self, indices: list[int]) -> None:
        self.trainer.update.rate.fill_(1e-3)
        self.trainer.update.guided_weight.fill_(1.0)
        self.trainer.window.records.append(self.trainer._step(indices)[0])

    def remarks(self) -> list[str]:
        """Return sentences on how it had to train, where memory was short."""
        part = self.trainer.cursor.part
        return [*self.trainer.remarks, *([] if part is None else [f"batches in parts of {part}"])]

    def waste(self, size: int) -> float:
        """Return the share of padding in an epoch's computed frames, captured shapes included."""
        lengths = self.trainer.train.frames
        batches, captured = Batches(lengths.tolist(), size, seed=0), self.trainer.captured
        plan = [next(batches) for _ in range(-(-len(lengths) // size))]
        longest = [int(lengths[batch].max()) for batch in plan]
        if captured is not None:
            longest = [captured.shapes.of(frames)[1] for frames in longest]
        return 1 - float(lengths.sum()) / sum(most * len(batch) for most, batch in zip(longest, plan, strict=True))


def _on(trained: Peer, examples: Sequence[Example]) -> Callable[[list[int]], None]:
    return lambda indices: trained([examples[index] for index in indices])


def measure(
    trainers: dict[str, Callable[[list[int]], None]],
    frames: np.ndarray,
    size: int,
    arguments: argparse.Namespace,
    device: torch.device,
) -> dict[str, Any]:
    """Return the valid frames per second of each trainer, on one batch and over an epoch of its own batches."""
    random = np.random.default_rng(2).permutation(len(frames))
    theirs = [random[start : start + size].tolist() for start in range(0, len(random) - size + 1, size)]
    sorted_batches = Batches(frames.tolist(), size, seed=0)
    ours = [next(sorted_batches) for _ in range(len(frames) // size)]
    plans = {name: _evenly(ours if name == "ours" else theirs, frames, arguments.updates) for name in trainers}
    typical = min(ours, key=lambda batch: abs(frames[batch].mean() - frames.mean()))
    best: dict[tuple[str, int], float] = {}
    repeats = arguments.repeats + 3 * (device.type == "cuda")  # a shape's first updates are not captured
    for _ in range(repeats):
        for place in range(-1, arguments.updates):
            for name, trainer in trainers.items():
                batch = typical if place < 0 else plans[name][place]
                seconds = timed(trainer, batch, device)
                best[name, place] = min(best.get((name, place), seconds), seconds)
    rates: dict[str, Any] = {"same_batch": {}, "epoch": {}, "typical": typical}
    for name in trainers:
        rates["same_batch"][name] = float(frames[typical].sum()) / best[name, -1]
        valid = sum(int(frames[batch].sum()) for batch in plans[name])
        rates["epoch"][name] = valid / sum(best[name, place] for place in range(arguments.updates))
    return rates


def _evenly(plan: list[list[int]], frames: np.ndarray, count: int) -> list[list[int]]:
    """Choose `count` batches at even distances from the shortest to the longest."""
    ascending = sorted(plan, key=lambda batch: int(frames[batch].max()))
    places = (np.arange(count) + 0.5) / count * len(ascending)
    return [ascending[int(place)] for place in places]


def timed(trainer: Callable[[list[int]], None], batch: list[int], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    trainer(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def flops(config: Config, symbols: np.ndarray, frames: np.ndarray) -> float:
    """Return the floating-point operations of training per valid frame: the forward pass, and twice as many backward.

    A multiplication with its addition counts as two.
    """
    n = config.network
    N, share = float(symbols.mean()), float(symbols.sum() / frames.sum())
    attention_lstm = 4 * n.attention_rnn * (n.prenet + n.encoder + n.attention_rnn)
    attention = n.attention_rnn * n.attention + N * (2 * n.location_kernel * n.attention + n.attention + n.encoder)
    decoder_lstm = 4 * n.decoder_rnn * (n.attention_rnn + n.encoder + n.decoder_rnn)
    bands = config.audio.mel_bands
    ends = n.prenet * (bands + n.prenet) + (n.decoder_rnn + n.encoder) * (bands + 1)
    inner = n.postnet * n.postnet * (n.postnet_convolutions - 2)
    postnet = n.postnet_kernel * (2 * bands * n.postnet + inner)
    convolutions = n.encoder_kernel * (n.embedding + (n.encoder_convolutions - 1) * n.encoder) * n.encoder
    encoder = convolutions + 4 * n.encoder * (n.encoder + n.encoder // 2) + n.encoder * n.attention
    return 6 * (attention_lstm + attention + decoder_lstm + ends + postnet + share * encoder)


def gemm_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return TFLOP/s of a large square product of random numbers, the fastest of five."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply(_: list[int]) -> None:
        product(left, right)

    return 2 * size**3 / min(timed(multiply, [], device) for _ in range(5)) / 1e12


def memory(ours: Ours, batch: list[int], device: torch.device) -> float:
    """Return the peak memory in GB: on a GPU that of an update of ours, graphs included; on a CPU that of the process."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        ours(batch)
        return torch.cuda.max_memory_reserved(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def parts(ours: Ours, batch: list[int], device: torch.device) -> dict[str, float]:
    """Return the seconds of each part of an update; nothing where a batch does not fit into memory at once."""
    ours.trainer.release()
    free_cached(device)
    try:
        return split(ours.trainer, batch)
    except torch.OutOfMemoryError:
        return {}


def machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{name}, {cores}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"


def show(size: int, row: dict[str, Any]) -> None:
    print(f"batch {size}: {row['precision']}, padding {row['padding_waste']:.1%}, peak memory {row['memory_gb']:.2f} GB")
    for name in row["epoch"]:
        print(f"  {name:12} valid frames/s: same batch {row['same_batch'][name]:10.0f}   epoch {row['epoch'][name]:10.0f}")
    print(f"  ours at {row['gemm_share']:.1%} of the best matrix products")
    for remark in row["remarks"]:
        print(f"  {remark}")
    times = "  ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in row["split"].items())
    print(f"  ms of a typical update, uncaptured: {times or 'it does not fit into memory at once'}")


if __name__ == "__main__":
    main()
