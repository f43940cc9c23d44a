"""Tile sizes of the Triton kernels, chosen by the limits of the card: shared memory, multiprocessors, architecture.

Needs of shared memory are computed, as upper bounds; `python -m benchmarks.kernels` shows what the compiler takes.
"""

from dataclasses import dataclass

import torch

from model.recurrence import Weights

KILOBYTE = 1024
M = 16  # symbols in a tile of the memory


@dataclass(frozen=True, slots=True)
class Card:
    """The limits of one GPU."""

    shared_bytes: int  # that one block may have; AMD calls it LDS
    multiprocessors: int
    arch: int | str  # NVIDIA: 10 * major + minor of the compute capability; AMD: the name, gfx942

    @property
    def tensor_cores(self) -> bool:
        """True where Triton multiplies in half precision with matrix instructions. On NVIDIA it needs sm_80."""
        if isinstance(self.arch, int):
            return self.arch >= 80
        return self.arch.startswith(("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12"))

    @property
    def warpgroups(self) -> bool:
        """True where groups of warps multiply together, from shared memory: Hopper, and Blackwell in data centres (sm_10x)."""
        return self.arch in range(90, 120)

    @property
    def tensor_memory(self) -> bool:
        """True where such a product is written into tensor memory instead of registers: Blackwell in data centres."""
        return self.arch in range(100, 120)

    def holds(self, needed: int) -> bool:
        """Return True for bytes of shared memory that fit, with a kilobyte for barriers and the sums of several warps."""
        return needed + KILOBYTE <= self.shared_bytes

    def holds_stages(self, stages: int, stage_bytes: int) -> bool:
        """Return True if a product pipelined in `stages` fits. One stage is in registers, unless warpgroups multiply."""
        return self.holds((stages if self.warpgroups else stages - 1) * stage_bytes)


H200 = Card(shared_bytes=227 * KILOBYTE, multiprocessors=132, arch=90)


def card_of(device: torch.device) -> Card:
    """Return the limits of a GPU. A CPU, where Triton's interpreter knows no limits, has those of an H200."""
    if device.type != "cuda":
        return H200
    found = torch.cuda.get_device_properties(device)
    shared = getattr(found, "shared_memory_per_block_optin", found.shared_memory_per_block)  # on AMD there is only the latter
    arch = found.gcnArchName.partition(":")[0] if torch.version.hip else 10 * found.major + found.minor
    return Card(shared, found.multi_processor_count, arch)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The dimensions of a recurrence: A attention LSTM, E memory, D attention, K location kernel."""

    A: int
    E: int
    D: int
    K: int

    @classmethod
    def of(cls, weights: Weights) -> "Dimensions":
        D, A = weights.query.shape
        return cls(A, weights.recurrent.shape[1] - A, D, weights.location.shape[2])

    @property
    def window(self) -> int:
        """Number of columns of a tile of location windows."""
        return power_of_2(2 * self.K)


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


def tiles(batch: int, size: Dimensions, products: torch.dtype, card: Card) -> Tiles:
    """Choose the tiles of an H200, smaller ones where those do not fit. Raises ValueError where none fit.

    Each multiprocessor gets one program of a matrix product, or two of the other kernels.
    """
    if products.itemsize > 2 or not card.tensor_cores:
        return _without_tensor_cores(size, max(4, products.itemsize), card)
    rows = 64 if batch > 64 else 32 if batch > 32 else 16
    units = 32 if batch > 128 and card.warpgroups else 16  # elsewhere 32 spill up to 900 bytes a thread
    x, warps = (128, 8) if batch > 64 else (64, 4)
    stages = next(stages for stages in (4, 3, 2) if card.holds_stages(stages, 2 * 64 * (x + x)))
    d, e = min(128, power_of_2(size.D)), power_of_2(size.E)
    n = 32 if card.tensor_memory else 64  # 64 do not compile there: Triton 3.7 has no layout for the features
    return Tiles(
        lstm_forward=sizes(4, 4, B=rows, A=units, K=64, D=d),
        attention_forward=sizes(4, 2, M=M, **_symbols(n, d, 1, size, 2, card)) | {"STAGES": _stages(2 * e, card)},
        attention_backward=sizes(4, 2, M=M, **_symbols(32, d, 2, size, 2, card))
        | {"STAGES": _stages(2 * e + 4 * size.window, card)},
        lstm_backward=sizes(8, 2, B=32, A=64, D=d),
        recurrent_backward=sizes(warps, stages, B=x, X=x, K=64),
        deferred_backward=sizes(4, 2, **_symbols(32, 64, 1, size, 2, card)),
        split=max(1, min(8, card.multiprocessors // (-(-batch // x) * -(-(size.E + size.A) // x)))),
    )


def _without_tensor_cores(size: Dimensions, item: int, card: Card) -> Tiles:
    """Choose small tiles, whose operands fit into registers. An operand takes `item` bytes."""
    d = min(64, power_of_2(size.D))
    return Tiles(
        lstm_forward=sizes(4, 2, B=32, A=16, K=16, D=d),
        attention_forward=sizes(8, 1, M=M, **_symbols(32, d, 1, size, item, card)) | {"STAGES": 1},
        attention_backward=sizes(8, 1, M=M, **_symbols(32, d, 2, size, item, card)) | {"STAGES": 1},
        lstm_backward=sizes(8, 1, B=32, A=32, D=d),
        recurrent_backward=sizes(4, 2, B=32, X=64, K=16),
        deferred_backward=sizes(8, 1, **_symbols(32, 32, 1, size, item, card)),
        split=4,
    )


def _symbols(n: int, d: int, filters: int, size: Dimensions, item: int, card: Card) -> dict[str, int]:
    """Return tile sizes of at most `n` symbols and `d` attention units with which the location features fit.

    Shared memory holds `filters` copies of the filters and a row for each symbol as operands of `item` bytes, and the windows
    also as they are loaded. Raises ValueError if this is too much for every tile.
    """
    w = size.window
    while not card.holds(needed := item * (filters * w * d + n * d + n * w) + max(4, item) * n * w):
        if n == d == 16:
            name = f"sm_{card.arch}" if isinstance(card.arch, int) else card.arch
            raise ValueError(
                f"network.recurrence cuda needs {needed:,} bytes of shared memory for network.location_kernel={size.K}, "
                f"{name} has {card.shared_bytes:,}: choose a smaller kernel or network.recurrence=deferred"
            )
        n, d = (n // 2, d) if n > d else (n, d // 2)
    return {"N": n, "D": d}


def _stages(symbol_bytes: int, card: Card) -> int:
    """Return the pipeline stages of a loop over the memory with `symbol_bytes` for each symbol."""
    return next((stages for stages in (3, 2) if card.holds((stages - 1) * M * (symbol_bytes + 20))), 1)


def sizes(num_warps: int, num_stages: int, **blocks: int) -> dict[str, int]:
    """Return the launch arguments of one kernel: `B=32` is a tile of 32 utterances."""
    return {f"BLOCK_{name}": size for name, size in blocks.items()} | {"num_warps": num_warps, "num_stages": num_stages}


def power_of_2(size: int) -> int:
    """Return the next power of two that a matrix product takes."""
    return max(16, 1 << (size - 1).bit_length())
