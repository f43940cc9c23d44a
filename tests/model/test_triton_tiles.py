"""The tiles fit the card: an H200 keeps its own, no other card gets larger ones, and all of them compute the reference."""

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import groupby, pairwise, product
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.recurrence.reference import attend as reference
from tests.model.recurrences import DEVICE, draw, leaves, run

if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")
from benchmarks.kernels import CARDS
from model.recurrence.triton_function import attend
from model.recurrence.triton_tiles import H200, Card, Dimensions, Tiles, card_of, tiles

FULL, DEMO = Dimensions(1024, 512, 128, 31), Dimensions(256, 128, 64, 31)
HALF, SINGLE = torch.bfloat16, torch.float32
BATCHES = 4, 16, 64, 128, 256


def blocks(chosen: Tiles) -> dict[str, int]:
    """Return the tile sizes as `kernel BLOCK_X`, which decide what a kernel computes."""
    kernels = {name: sizes for name, sizes in asdict(chosen).items() if name != "split"}
    return {f"{kernel} {name}": size for kernel, sizes in kernels.items() for name, size in sizes.items() if "BLOCK" in name}


@pytest.mark.parametrize(
    ("batch", "rows", "units", "x", "warps", "split"),
    [(16, 16, 16, 64, 4, 5), (64, 32, 16, 64, 4, 5), (128, 64, 16, 128, 8, 8), (256, 64, 32, 128, 8, 5)],
)
def test_an_h200_keeps_its_tiles(batch: int, rows: int, units: int, x: int, warps: int, split: int) -> None:
    chosen = tiles(batch, FULL, HALF, H200)
    assert chosen.split == split
    expected = {
        "lstm_forward": (rows, units, 64, 128, 4, 4),
        "attention_forward": (16, 64, 128, 4, 2, 3),
        "attention_backward": (16, 32, 128, 4, 2, 3),
        "lstm_backward": (32, 64, 128, 8, 2),
        "recurrent_backward": (x, x, 64, warps, 4),
        "deferred_backward": (32, 64, 4, 2),
    }
    assert {name: tuple(getattr(chosen, name).values()) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "batch", "kernel", "tile", "expected"),
    [
        ("sm_86", 256, "recurrent_backward", "num_stages", 4),  # 98,304 of 101,376 bytes
        ("gfx942", 256, "recurrent_backward", "num_stages", 2),
        ("gfx942", 64, "recurrent_backward", "num_stages", 4),
        ("gfx942", 256, "lstm_forward", "BLOCK_A", 16),
        ("sm_86", 256, "lstm_forward", "BLOCK_A", 16),
        ("sm_100", 256, "lstm_forward", "BLOCK_A", 32),
        ("sm_100", 16, "attention_forward", "BLOCK_N", 32),
        ("sm_120", 16, "attention_forward", "BLOCK_N", 64),
    ],
)
def test_what_the_compiler_refuses_elsewhere_is_smaller(name: str, batch: int, kernel: str, tile: str, expected: int) -> None:
    """See the table in docs/performance.md; the slow tests of benchmarks.kernels compile the rest."""
    assert getattr(tiles(batch, FULL, HALF, CARDS[name][1]), kernel)[tile] == expected


def test_warpgroups_keep_every_stage_in_shared_memory() -> None:
    """Four stages of 32 KB on Hopper; before it, one of them is in registers."""
    cards = [Card(99 * 1024, 132, arch) for arch in (89, 90)]
    assert [tiles(256, FULL, HALF, card).recurrent_backward["num_stages"] for card in cards] == [4, 3]


def test_without_tensor_cores_half_precision_has_the_tiles_of_single_precision() -> None:
    assert tiles(64, FULL, torch.float16, CARDS["sm_75"][1]) == tiles(64, FULL, SINGLE, H200)


def test_a_wide_memory_has_fewer_stages() -> None:
    wide, card = replace(FULL, E=1024), CARDS["gfx942"][1]
    assert [tiles(16, size, HALF, card).attention_forward["STAGES"] for size in (FULL, wide)] == [3, 2]


@pytest.mark.parametrize("attention", [5, 64, 128, 200, 512])
@pytest.mark.parametrize("products", [HALF, SINGLE], ids=["bf16", "fp32"])
@pytest.mark.parametrize("name", CARDS)
def test_no_card_gets_larger_tiles_than_an_h200(name: str, products: torch.dtype, attention: int) -> None:
    for size in (FULL, DEMO):
        for batch in BATCHES:
            least, most = (tiles(batch, replace(size, D=attention), products, card) for card in (CARDS[name][1], H200))
            if products == HALF and not CARDS[name][1].tensor_cores:
                most = tiles(batch, replace(size, D=attention), SINGLE, H200)
            assert all(block <= blocks(most)[kernel] for kernel, block in blocks(least).items())
            assert 1 <= least.split <= 8


@pytest.mark.parametrize("kernel", [31, 63, 127])
@pytest.mark.parametrize("products", [HALF, SINGLE], ids=["bf16", "fp32"])
def test_less_shared_memory_never_gives_larger_tiles(products: torch.dtype, kernel: int) -> None:
    cards = (replace(H200, shared_bytes=size * 1024) for size in (99, 163, 227))
    for small, large in pairwise(blocks(tiles(256, replace(FULL, K=kernel), products, card)) for card in cards):
        assert all(small[name] <= large[name] for name in large)


@pytest.mark.parametrize("products", [HALF, SINGLE], ids=["bf16", "fp32"])
def test_what_fits_nowhere_is_an_error_with_the_way_out(products: torch.dtype) -> None:
    message = (
        r"network.recurrence cuda needs [\d,]+ bytes of shared memory for network.location_kernel=1001, sm_75 has 65,536: "
        "choose a smaller kernel or network.recurrence=deferred"
    )
    with pytest.raises(ValueError, match=message):
        tiles(16, replace(FULL, K=1001), products, CARDS["sm_75"][1])


def test_a_card_is_read_from_its_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia = {"shared_memory_per_block": 49_152, "shared_memory_per_block_optin": 101_376, "multi_processor_count": 28}
    found: dict[str, Any] = nvidia | {"major": 8, "minor": 6}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**found))
    assert card_of(torch.device("cuda", 0)) == CARDS["sm_86"][1]
    found = {"shared_memory_per_block": 65_536, "multi_processor_count": 304, "gcnArchName": "gfx942:sramecc+:xnack-"}
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert card_of(torch.device("cuda", 0)) == CARDS["gfx942"][1]
    assert card_of(torch.device("cpu")) == H200


@pytest.mark.parametrize(
    ("arch", "expected"),
    [(70, False), (75, False), (80, True), (120, True), ("gfx942", True), ("gfx1100", True), ("gfx1030", False)],
)
def test_only_some_architectures_have_tensor_cores(arch: int | str, expected: bool) -> None:
    assert Card(65_536, 40, arch).tensor_cores is expected


def classes() -> Iterator[Any]:
    """Yield tiles until each kernel's tile sizes on any card have been among them."""
    seen: set[tuple[str, ...]] = set()
    for name, (_, card) in CARDS.items():
        for batch, size, products in product(BATCHES, (FULL, DEMO), (HALF, SINGLE)):
            chosen = tiles(batch, size, products, card)
            named = groupby(blocks(chosen).items(), key=lambda block: block[0].split()[0])
            of_kernels = {(kernel, *map(str, group)) for kernel, group in named}
            if not of_kernels <= seen:
                seen |= of_kernels
                yield pytest.param(chosen, id=f"{name}, batch {batch}, {size.D} units, {products}")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", list(classes()))
def test_all_tiles_compute_the_reference(chosen: Tiles) -> None:
    """Several tiles of symbols and units, the last of each in part."""
    inputs, weights = draw(3, 3, 70, True, (40, 12, 150, 5))
    ours = run(attend(inputs, weights, torch.float64, chosen), leaves(inputs, weights))
    theirs = run(reference(inputs, weights), leaves(inputs, weights))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
