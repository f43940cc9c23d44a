"""Launch the Triton kernels of the recurrence: their tile sizes, their types, and their arguments by name."""

from dataclasses import dataclass
from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}


@dataclass(frozen=True, slots=True)
class Tiles:
    """The launch arguments of each kernel, by its name: tile sizes, warps, pipeline stages.

    `split` is the number of shares into which `recurrent_backward` cuts its product.
    """

    lstm_forward: dict[str, int]
    attention_forward: dict[str, int]
    attention_backward: dict[str, int]
    lstm_backward: dict[str, int]
    recurrent_backward: dict[str, int]
    deferred_backward: dict[str, int]
    split: int


def tiles(batch: int, width: int, products: torch.dtype) -> Tiles:
    """Choose tile sizes for the 132 multiprocessors of an H200; `width` is E + A.

    Each multiprocessor gets one program of a matrix product, or two of the other kernels.
    """
    if products.itemsize > 2:  # no tensor cores, or slow ones: for checks
        return Tiles(
            lstm_forward=sizes(4, 2, B=32, A=16, K=16),
            attention_forward=sizes(8, 1, N=32, M=16) | {"STAGES": 1},
            attention_backward=sizes(8, 1, N=32, M=16) | {"STAGES": 1},
            lstm_backward=sizes(8, 1, B=32, A=32),
            recurrent_backward=sizes(4, 2, B=32, X=64, K=16),
            deferred_backward=sizes(8, 1, N=32, D=32),
            split=4,
        )
    rows = 64 if batch > 64 else 32 if batch > 32 else 16
    x, warps = (128, 8) if batch > 64 else (64, 4)
    return Tiles(
        lstm_forward=sizes(4, 4, B=rows, A=32 if batch > 128 else 16, K=64),
        attention_forward=sizes(4, 2, N=64, M=16) | {"STAGES": 3},
        attention_backward=sizes(4, 2, N=32, M=16) | {"STAGES": 3},
        lstm_backward=sizes(8, 2, B=32, A=64),
        recurrent_backward=sizes(warps, 4, B=x, X=x, K=64),
        deferred_backward=sizes(4, 2, N=32, D=64),
        split=max(1, min(8, 132 // (triton.cdiv(batch, x) * triton.cdiv(width, x)))),
    )


def sizes(num_warps: int, num_stages: int, **blocks: int) -> dict[str, int]:
    """Return the launch arguments of one kernel: `B=32` is a tile of 32 utterances."""
    return {f"BLOCK_{name}": size for name, size in blocks.items()} | {"num_warps": num_warps, "num_stages": num_stages}


def sum_type(products: torch.dtype) -> torch.dtype:
    """Return the type of sums and pointwise functions for matrix products in type `products`."""
    return torch.float64 if products == torch.float64 else torch.float32


class Launcher:
    """Launches kernels with the arguments that each one's parameters name: tensors, sizes, types and tile sizes."""

    def __init__(self, memory: Tensor, query: Tensor, location: Tensor, products: torch.dtype, blocks: Tiles) -> None:
        """memory (B, N, E), query (D, A), location (D, 2, K)."""
        (B, N, E), (D, A), K = memory.shape, query.shape, location.shape[2]
        self.blocks = blocks
        self.parts = triton.cdiv(A, blocks.lstm_forward["BLOCK_A"])  # of the query, one for each tile of hidden units
        self.window = _tile(2 * K)
        half = products.itemsize == 2
        # Triton's interpreter would multiply bfloat16 as bit patterns: there, rounded operands multiply in single precision.
        single = half and triton.knobs.runtime.interpret
        self.arguments: dict[str, Any] = {
            "B": B,
            "N": N,
            "A": A,
            "E": E,
            "D": D,
            "K": K,
            "SPLIT": blocks.split,
            "PARTS": self.parts,
            "BLOCK_E": _tile(E),
            "BLOCK_D": _tile(D),
            "BLOCK_W": self.window,
            "BLOCK_P": _tile(self.parts),
            "ACC": TYPES[sum_type(products)],
            "FEATURES": TYPES[torch.float16 if half else products],
            "PRODUCTS": TYPES[products],
            "MULTIPLY": TYPES[torch.float32 if single else products],
        }

    def pass_tensors(self, **tensors: Tensor | None) -> None:
        """Pass these tensors to all further launches, to the parameters of these names."""
        self.arguments |= tensors

    def __call__(self, kernel: Any, grid: dict[str, int], **steps: int) -> None:
        """Launch `kernel` at step `t`, or for all `T` steps.

        `grid` gives the size of each dimension that the programs divide among them: into tiles (B, A), or one by one.
        """
        own: dict[str, int] = getattr(self.blocks, kernel.__name__)
        named = self.arguments | own | steps
        shape = tuple(triton.cdiv(size, own.get(f"BLOCK_{name}", 1)) for name, size in grid.items())
        options = {name: own[name] for name in ("num_warps", "num_stages")}
        kernel[shape](**{name: named[name] for name in kernel.arg_names}, **options)


def _tile(size: int) -> int:
    """Return the next power of two that a matrix product takes."""
    return max(16, triton.next_power_of_2(size))  # type: ignore[no-any-return]
