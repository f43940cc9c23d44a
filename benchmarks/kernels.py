"""Compile the recurrence's kernels for GPUs that are not here: `python -m benchmarks.kernels [sm_86 gfx942 ...]`.

Triton's own compiler and the ptxas of its wheel compile each kernel with every class of tiles that the shipped spaces can draw,
and with those of batches of 128 and 256, in half precision and in fp32, for one card of each architecture. Prints, in Markdown,
a table of the kernels for each architecture when it is done, then one of the architectures: the most shared memory that a block
needs, the most registers and spilled bytes of a thread. The exit code is 0, or 1 if a kernel does not compile or does not fit.

Needs torch, Triton and PyYAML, no GPU. Takes 15 to 45 s for each architecture on an idle core; what is compiled once is in
Triton's cache and takes seconds.
"""

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]
from triton.compiler import ASTSource  # type: ignore[import-untyped]
from triton.errors import TritonError  # type: ignore[import-untyped]

from model.config import PROFILES, Config
from model.recurrence import Inputs, Weights, triton_function
from model.recurrence.triton_launch import Launcher
from model.recurrence.triton_tiles import H200, KILOBYTE, Card, Dimensions, tiles
from search_spaces.knobs import apply, values
from search_spaces.parameters import Choice
from search_spaces.space import SHIPPED, load

CARDS = {  # the multiprocessors are those of the first
    "sm_75": ("T4, RTX 2080", Card(64 * KILOBYTE, 40, 75)),
    "sm_80": ("A100", Card(163 * KILOBYTE, 108, 80)),
    "sm_86": ("RTX 3060, 3090, A10", Card(99 * KILOBYTE, 28, 86)),
    "sm_89": ("RTX 4090, L4", Card(99 * KILOBYTE, 128, 89)),
    "sm_90": ("H200, H100", H200),
    "sm_100": ("B200", Card(227 * KILOBYTE, 148, 100)),
    "sm_103": ("B300", Card(227 * KILOBYTE, 148, 103)),
    "sm_120": ("RTX 5090", Card(99 * KILOBYTE, 170, 120)),
    "gfx942": ("MI300X", Card(64 * KILOBYTE, 304, "gfx942")),
    "gfx1100": ("RX 7900 XTX", Card(64 * KILOBYTE, 48, "gfx1100")),
}
SIZES = ("network.attention_rnn", "network.encoder", "network.attention", "network.location_kernel")  # A, E, D, K
BATCHES = (128, 256)  # that no space draws, for those who have the memory
FITS = "fits"
POINTERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.bool: "*i1", torch.int32: "*i32"}
USAGE = r"REG:(?P<registers>\d+) STACK:(?P<spilled>\d+)"
AMD_USAGE = r"\.private_segment_fixed_size: *(?P<spilled>\d+).*\.vgpr_count: *(?P<registers>\d+)"


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with the arguments and the options of one launch."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, int]

    def signature(self) -> dict[str, str]:
        """Return the type of each argument, as Triton's compiler names it."""
        types = {}
        for parameter, value in zip(self.kernel.params, self.arguments.values(), strict=True):
            constant = parameter.is_constexpr or value is None
            types[parameter.name] = POINTERS[value.dtype] if isinstance(value, Tensor) else "constexpr" if constant else "i32"
        return types

    def constants(self) -> dict[str, Any]:
        return {name: self.arguments[name] for name, kind in self.signature().items() if kind == "constexpr"}

    def key(self) -> str:
        """Return what decides how the kernel is compiled."""
        return f"{self.kernel.__name__} {self.signature()} {self.constants()} {self.options}"


@dataclass(frozen=True, slots=True)
class Need:
    """A kernel's needs: bytes of shared memory a block, registers and spilled bytes a thread; or why it does not compile."""

    shared: int = 0
    registers: int = 0
    spilled: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The largest needs of one kernel over all its classes on one card."""

    kernel: str
    needs: list[Need]
    limit: int

    @property
    def shared(self) -> int:
        return max(need.shared for need in self.needs)

    @property
    def result(self) -> str:
        """Return FITS, or why it does not."""
        failures = [need.failure for need in self.needs if need.failure]
        return failures[0] if failures else FITS if self.shared <= self.limit else "TOO LARGE"

    def __str__(self) -> str:
        registers, spilled = (max(getattr(need, name) for need in self.needs) for name in ("registers", "spilled"))
        return f"| `{self.kernel}` | {len(self.needs)} | {self.shared:,} | {registers} | {spilled:,} | {self.result} |"


def drawn() -> set[tuple[int, Dimensions]]:
    """Return the batch sizes and dimensions that the shipped spaces can draw in any profile, and the same with BATCHES."""
    found = set()
    for profile, name in itertools.product(PROFILES.values(), SHIPPED):
        space = load(name, apply(Config(), profile))
        choices = {key: {value} for key, value in (values(space.base) | space.fixed).items()}
        for parameter in space.parameters:
            choices[parameter.key] |= set(
                parameter.choices if isinstance(parameter, Choice) else (parameter.low, parameter.high)
            )
        sizes = itertools.product(*(choices[name] for name in SIZES))
        found |= {(batch, Dimensions(*size)) for size in sizes for batch in choices["training.batch_size"].union(BATCHES)}
    return found


def launches(batch: int, size: Dimensions, products: torch.dtype, card: Card) -> list[Launch]:
    """Return the launches of one decoder step forward and backward, without a GPU: on tensors that have only a shape."""
    found = []

    class Recorder(Launcher):
        def __call__(self, kernel: Any, grid: dict[str, int], **steps: int) -> None:
            found.append(Launch(kernel, *self.arguments_of(kernel, **steps)))

    def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=dtype.is_floating_point)

    T, N, (A, E, D, K) = 1, 100, (size.A, size.E, size.D, size.K)
    sequences = leaf(T, batch, 4 * A, dtype=products), leaf(batch, N, E, dtype=products), leaf(batch, N, D, dtype=products)
    inputs = Inputs(*sequences, leaf(batch, N, dtype=torch.bool), leaf(T, batch, A, dtype=products).detach())
    weights = Weights(leaf(4 * A, E + A), leaf(D, A), leaf(D, 2, K), leaf(D))
    with mock.patch.object(triton_function, "Launcher", Recorder):
        outputs = triton_function.attend(inputs, weights, products, tiles(batch, size, products, card))
        torch.autograd.grad([output.float().sum() for output in outputs], [inputs.gates])
    return found


def compile_for(card: Card, launch: Launch) -> Need:
    """Compile a kernel for a card. Pointers are aligned, as torch's allocator gives them, and to less than 2 GB."""
    amd = isinstance(card.arch, str)
    target = GPUTarget("hip" if amd else "cuda", card.arch, 64 if str(card.arch).startswith("gfx9") else 32)
    known = [["tt.divisibility", 16], *([["tt.pointer_range", 32]] if amd else [])]
    pointers = {(at,): known for at, kind in enumerate(launch.signature().values()) if kind.startswith("*")}
    try:
        source = ASTSource(launch.kernel, launch.signature(), launch.constants(), pointers)
        compiled = triton.compile(source, target=target, options=launch.options)
    except (RuntimeError, TritonError) as error:
        return Need(failure=f"DOES NOT COMPILE ({str(error).splitlines()[0]})")
    if amd:
        usage = re.search(AMD_USAGE, compiled.asm["amdgcn"], re.DOTALL)
    else:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(compiled.asm["cubin"])
            file.flush()
            report = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
            usage = re.search(USAGE, subprocess.run(report, capture_output=True, text=True, check=True).stdout)
    assert usage, "the compiler reports no registers"
    return Need(compiled.metadata.shared, int(usage["registers"]), int(usage["spilled"]))


def check(card: Card, batches_and_sizes: Iterable[tuple[int, Dimensions]]) -> list[Row]:
    """Return a row for each kernel: its needs on a card, over all its distinct classes."""
    half = torch.bfloat16 if card.tensor_cores else torch.float16
    classes = {
        launch.key(): launch
        for batch, size in batches_and_sizes
        for products in (half, torch.float32)
        for launch in launches(batch, size, products, card)
    }
    needs: dict[str, list[Need]] = {}
    for launch in classes.values():
        needs.setdefault(launch.kernel.__name__, []).append(compile_for(card, launch))
    return [Row(kernel, all_of_it, card.shared_bytes) for kernel, all_of_it in needs.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="ARCHITECTURE", help=f"by default all: {', '.join(CARDS)}")
    parser.add_argument("--attention", type=int, help="network.attention, by default what the spaces draw")
    parsed = parser.parse_args()
    if unknown := set(parsed.names) - set(CARDS):
        parser.error(f"need architectures of {', '.join(CARDS)}, got {', '.join(sorted(unknown))}")
    if triton.knobs.runtime.interpret:
        parser.error("need Triton's compiler, TRITON_INTERPRET asks for its interpreter: unset it")
    points = {(batch, replace(size, D=parsed.attention or size.D)) for batch, size in drawn()}
    summary = []
    for name in parsed.names or CARDS:
        cards, card = CARDS[name]
        start = time.monotonic()
        rows = check(card, points)
        print(f"\n{name}, {card.shared_bytes:,} bytes of shared memory a block, {time.monotonic() - start:.0f} s\n")
        print("| kernel | classes | largest need | registers | spilled | result |\n|---|---|---|---|---|---|")
        print(*rows, sep="\n", flush=True)
        most = max(rows, key=lambda row: row.shared)
        bad = "; ".join(f"`{row.kernel}` {row.result}" for row in rows if row.result != FITS)
        summary.append(f"| {name}: {cards} | {card.shared_bytes:,} | {most.shared:,} (`{most.kernel}`) | {bad or FITS} |")
    print(f"\ntorch {torch.__version__}, Triton {triton.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| architecture | shared memory a block | largest need | result |\n|---|---|---|---|", *summary, sep="\n")
    return 0 if all(line.endswith(f"| {FITS} |") for line in summary) else 1


if __name__ == "__main__":
    sys.exit(main())
