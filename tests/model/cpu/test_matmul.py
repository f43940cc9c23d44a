"""oneDNN's products and gradients equal PyTorch's in every layout; without oneDNN they are PyTorch's, bit for bit."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.cpu import matmul
from model.cpu.matmul import linear, outer, packed, product
from model.cpu.processor import Processor

I, O = 37, 11
LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "rows": lambda: torch.randn(6, I),
    "one row": lambda: torch.randn(1, I),
    "a vector": lambda: torch.randn(I),
    "steps and batch": lambda: torch.randn(5, 3, I),
    "no rows": lambda: torch.randn(0, I),
    "no rows in steps": lambda: torch.randn(4, 0, I),
    "transposed": lambda: torch.randn(I, 6).t(),
    "batch first": lambda: torch.randn(3, 5, I).transpose(0, 1),
    "every second column": lambda: torch.randn(6, 2 * I)[:, ::2],
    "a slice": lambda: torch.randn(6, I + 9)[1:, 4 : 4 + I],
    "one row many times": lambda: torch.randn(1, I).expand(6, I),
}
ROUNDING = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}
TYPES = pytest.mark.parametrize("dtype", ROUNDING, ids=str)


@pytest.fixture(params=["oneDNN", "without oneDNN"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    if request.param == "without oneDNN":
        monkeypatch.setattr(matmul, "ONEDNN", False)


either = pytest.mark.usefixtures("_either")


def weights(bias: bool, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(O, I, dtype=dtype, requires_grad=True), *[torch.randn(O, dtype=dtype, requires_grad=True)] * bias]


def run(layer: Callable[..., Tensor], x: Tensor, parameters: list[Tensor], plain_sum: bool = False) -> list[Tensor]:
    """Return the output and the gradients of all tensors that need one. A plain sum's gradient is one expanded number."""
    y = layer(x, *parameters)
    weight = torch.ones_like(y) if plain_sum else torch.sin(torch.arange(y.numel(), dtype=y.dtype)).view(y.shape)
    loss = y.sum() if plain_sum else (y * weight).sum()
    return [y, *torch.autograd.grad(loss, [leaf for leaf in (x, *parameters) if leaf.requires_grad])]


def error(ours: Tensor, exact: Tensor) -> float:
    """Return the relative error, in norm."""
    return float((ours.double() - exact.double()).norm() / exact.double().norm())


@either
@pytest.mark.parametrize("plain_sum", [False, True], ids=["any gradient", "one gradient for all"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_linear_equals_torchs_in_every_layout(layout: Callable[[], Tensor], bias: bool, plain_sum: bool) -> None:
    x, parameters = layout().requires_grad_(), weights(bias)
    ours, theirs = (run(layer, x, parameters, plain_sum) for layer in (linear, F.linear))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@either
def test_linear_accepts_a_view_as_weight() -> None:
    x, wide = torch.randn(4, I, requires_grad=True), torch.randn(I, 2 * O)
    parameters = [wide.t()[::2].requires_grad_()]
    torch.testing.assert_close(run(linear, x, parameters), run(F.linear, x, parameters), rtol=1e-5, atol=1e-5)


@either
@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_a_frozen_tensor_gets_no_gradient(frozen: str) -> None:
    x, parameters = torch.randn(6, I, requires_grad=True), weights(bias=True)
    (x if frozen == "input" else parameters[0]).requires_grad_(False)
    ours = run(linear, x, parameters)
    assert len(ours) == 3
    torch.testing.assert_close(ours, run(F.linear, x, parameters), rtol=1e-5, atol=1e-5)


@either
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_types_other_than_single_precision_are_left_to_torch(dtype: torch.dtype) -> None:
    x, parameters = torch.randn(6, I, dtype=dtype, requires_grad=True), weights(True, dtype)
    torch.testing.assert_close(run(linear, x, parameters), run(F.linear, x, parameters), rtol=0, atol=0)


@either
def test_autocast_chooses_the_type() -> None:
    x, parameters = torch.randn(6, I, requires_grad=True), weights(bias=True)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = run(linear, x, parameters), run(F.linear, x, parameters)
    assert ours[0].dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@either
def test_the_layer_equals_torchs_layer() -> None:
    ours, theirs = matmul.Linear(I, O), torch.nn.Linear(I, O)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, I)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@either
@TYPES
@pytest.mark.parametrize("rows", [1, 2, 16, 100])
def test_packed_weights_give_the_same_product_for_any_number_of_rows(rows: int, dtype: torch.dtype) -> None:
    x, weight = torch.randn(rows, I).to(dtype), torch.randn(2 * O, I).to(dtype)[::2]
    exact = x.double() @ weight.double().t()
    for layout in (weight, packed(weight, rows), packed(weight, 16)):
        for _ in range(2):
            y = product(x, layout)
            assert (y.dtype, y.shape) == (dtype, exact.shape)
            assert error(y, exact) < ROUNDING[dtype]


@either
@TYPES
def test_packed_weights_accept_no_rows(dtype: torch.dtype) -> None:
    assert product(torch.randn(0, I).to(dtype), packed(torch.randn(O, I).to(dtype), 4)).shape == (0, O)


@either
@TYPES
@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUTS)
def test_outer_is_the_product_with_the_transpose(layout: str, dtype: torch.dtype) -> None:
    right = LAYOUTS[layout]().to(dtype).reshape(-1, I) if "row" not in layout else LAYOUTS[layout]().to(dtype).flatten(0, -2)
    left = torch.randn(O, len(right)).to(dtype).t()
    for one, other in ((left, right), (right, left), (left[:1].expand_as(left), right)):
        found, exact = outer(one, other), one.double().t() @ other.double()
        assert (found.dtype, found.shape) == (dtype, exact.shape)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=2 * ROUNDING[dtype] * max(1.0, float(exact.norm())))


def test_without_onednn_the_products_are_torchs_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "ONEDNN", False)
    x, weight = torch.randn(6, I), torch.randn(O, I)
    assert packed(weight, 6) is weight
    assert torch.equal(product(x, weight), x @ weight.t())
    assert torch.equal(outer(x, x), x.t() @ x)
    assert torch.equal(linear(x, weight), F.linear(x, weight))


@pytest.mark.skipif(not matmul.ONEDNN, reason="this build of PyTorch has no oneDNN")
def test_with_onednn_single_precision_is_multiplied_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "processor", lambda: Processor("slow MKL", mkl=2.0, onednn=1.0, bf16=1.0))
    weight = torch.randn(O, I, requires_grad=True)
    assert packed(weight.detach(), 6).is_mkldnn
    made = linear(torch.randn(6, I), weight).grad_fn
    assert made is not None
    assert made.next_functions[0][0].name() == "_LinearBackward"
    monkeypatch.setattr(matmul, "processor", lambda: Processor("fast MKL", mkl=1.0, onednn=2.0, bf16=1.0))
    assert packed(weight.detach(), 6) is weight.detach() or not packed(weight.detach(), 6).is_mkldnn
