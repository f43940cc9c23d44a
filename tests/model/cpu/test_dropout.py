"""Cheap dropout has the share, the mean, the independence and the gradient of dropout, and depends on the seed only."""

import math

import pytest
import torch

from model.cpu.dropout import dropout, dropout_mask

COUNT = 200_001
FLOAT = torch.zeros(())
TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_the_share_of_zeros_is_right_and_the_mean_is_kept(share: float) -> None:
    """The bounds are five standard deviations."""
    mask = dropout_mask((COUNT,), share, FLOAT)
    assert float((mask == 0).float().mean()) == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / COUNT))
    assert float(mask.double().mean()) == pytest.approx(1, abs=5 * math.sqrt(share / (1 - share) / COUNT))
    assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8])
def test_neighbours_are_independent(distance: int) -> None:
    """Four values are drawn at once."""
    kept = (dropout_mask((COUNT,), 0.3, FLOAT) > 0).double()
    kept -= kept.mean()
    correlation = (kept[distance:] * kept[:-distance]).mean() / kept.square().mean()
    assert abs(float(correlation)) < 5 / math.sqrt(COUNT)


def test_calls_differ_and_seeds_repeat() -> None:
    first, second = (dropout_mask((50, 3), 0.5, FLOAT) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(dropout_mask((50, 3), 0.5, FLOAT), first)
    state = torch.get_rng_state()
    third = dropout_mask((50, 3), 0.5, FLOAT)
    torch.set_rng_state(state)
    assert torch.equal(dropout_mask((50, 3), 0.5, FLOAT), third)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_all_types_drop_the_same_values_and_keep_the_mean(dtype: torch.dtype) -> None:
    mask = dropout_mask((COUNT,), 0.1, FLOAT.to(dtype))
    torch.manual_seed(0)
    assert mask.dtype == dtype
    assert torch.equal(mask == 0, dropout_mask((COUNT,), 0.1, FLOAT) == 0)
    assert float(mask.double().mean()) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (4,), (5,), (7, 9), (2, 0, 3), (3, 5, 7)], ids=str)
def test_a_mask_may_have_any_number_of_values(shape: tuple[int, ...]) -> None:
    mask = dropout_mask(shape, 0.5, FLOAT)
    assert mask.shape == shape
    assert set(mask.flatten().tolist()) <= {0.0, 2.0}


def test_without_dropout_nothing_is_dropped() -> None:
    x = torch.randn(40, 3)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, training=False) is x
    assert torch.equal(dropout_mask((1_000,), 0.0, FLOAT), torch.ones(1_000))


def test_a_share_close_to_one_gives_no_infinities() -> None:
    assert dropout_mask((100_000,), 1 - 1e-9, FLOAT).isfinite().all()


def test_the_gradient_has_the_mask_of_the_forward_pass() -> None:
    x = torch.randn(500, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.3)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert 0 < int((gradient == 0).sum()) < 500
    torch.testing.assert_close(gradient * x, y)


def test_a_mask_is_on_the_device_of_its_tensor() -> None:
    like = torch.zeros(2, dtype=torch.bfloat16, device="meta")
    mask = dropout_mask((3, 5), 0.5, like)
    assert (mask.device.type, mask.dtype, mask.shape) == ("meta", torch.bfloat16, (3, 5))
    assert dropout(like, 0.5).device.type == "meta"
