"""Launch the Triton kernels of the recurrence: their types, and their arguments by name."""

from typing import Any

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from model.recurrence.triton_tiles import Tiles, power_of_2

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}


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
        self.window = power_of_2(2 * K)
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
            "BLOCK_E": power_of_2(E),
            "BLOCK_W": self.window,
            "BLOCK_P": power_of_2(self.parts),
            "ACC": TYPES[sum_type(products)],
            "FEATURES": TYPES[torch.float16 if half else products],
            "PRODUCTS": TYPES[products],
            "MULTIPLY": TYPES[torch.float32 if single else products],
        }

    def pass_tensors(self, **tensors: Tensor | None) -> None:
        """Pass these tensors to all further launches, to the parameters of these names."""
        self.arguments |= tensors

    def arguments_of(self, kernel: Any, **steps: int) -> tuple[dict[str, Any], dict[str, int]]:
        """Return the arguments of a launch at step `t`, or for all `T` steps, and the options of its compilation."""
        own: dict[str, int] = getattr(self.blocks, kernel.__name__)
        named = self.arguments | own | steps
        options = {name: own[name] for name in ("num_warps", "num_stages")}
        return {name: named[name] for name in kernel.arg_names}, options

    def __call__(self, kernel: Any, grid: dict[str, int], **steps: int) -> None:
        """Launch `kernel` at step `t`, or for all `T` steps.

        `grid` gives the size of each dimension that the programs divide among them: into tiles (B, A), or one by one.
        """
        arguments, options = self.arguments_of(kernel, **steps)
        shape = tuple(triton.cdiv(size, arguments.get(f"BLOCK_{name}", 1)) for name, size in grid.items())
        kernel[shape](**arguments, **options)
