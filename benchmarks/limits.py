"""Measure the limits of this GPU, to compare our kernels with: `python -m benchmarks.limits`. Needs torch only."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

REPEATS = 10


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args(typed)
    if not torch.cuda.is_available():
        print("need a CUDA device, torch finds none", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    limits = {}
    for name, measure in LIMITS.items():
        limits[name] = measure()
        print(f"{name:45} {limits[name]:10.2f}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"limits": limits}, indent=1), encoding="utf-8")
    return 0


def seconds(graph: torch.cuda.CUDAGraph) -> float:
    """Return the seconds of one replay, the fastest of REPEATS."""
    best = float("inf")
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1e3)
    return best


def products(rows: int, inner: int, columns: int) -> float:
    """TFLOP/s on random numbers: on zeros the chip draws less power and runs faster."""
    left = torch.randn(rows, inner, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(inner, columns, device="cuda", dtype=torch.bfloat16)
    out = torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
    count = max(1, int(2e12 / (2 * rows * inner * columns)))
    torch.mm(left, right, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            torch.mm(left, right, out=out)
    return 2 * rows * inner * columns * count / seconds(graph) / 1e12


def copies(floats: int, count: int = 4) -> float:
    """TB/s."""
    source = torch.randn(floats, device="cuda")
    target = torch.empty_like(source)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            target.copy_(source)
    return 8 * floats * count / seconds(graph) / 1e12


def node(count: int = 2_000) -> float:
    """Microseconds of a kernel that does next to nothing, after another."""
    x = torch.zeros(32, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            x.add_(1)
    return seconds(graph) / count * 1e6


LIMITS: dict[str, Callable[[], float]] = {
    "bf16 products, 8192 x 8192 x 8192, TFLOP/s": lambda: products(8192, 8192, 8192),
    "one step's gates, 256 x 1536 x 4096, TFLOP/s": lambda: products(256, 1536, 4096),
    "copies of a tenth of the memory, TB/s": lambda: copies(torch.cuda.get_device_properties(0).total_memory // 40),
    "copies of 16 MB, from cache, TB/s": lambda: copies(2**22, 100),
    "a node of a CUDA graph, us": node,
}

if __name__ == "__main__":
    sys.exit(main())
