"""The self-test of a GPU, with kernels in Triton's interpreter and recordings emulated: what is wrong is found and named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from model import selftest
from model.config import Config, Network
from model.cpu.processor import processor
from model.recorder import NotRecordedError
from model.recurrence import Inputs, Weights
from model.recurrence import attend as attend_by
from model.selftest import Abilities, abilities, compare, kernels_fail, recording_fails, verdict
from model.train_step import Update
from tests.model.test_cuda_graphs import Emulated

CPU = torch.device("cpu")
SIZES = {(3, (24, 16, 12, 5))}


def right(inputs: Inputs, weights: Weights, products: torch.dtype) -> tuple[Tensor, ...]:
    return attend_by(inputs, weights, "deferred")


def test_a_recurrence_that_is_right_passes() -> None:
    why, error = compare(right, SIZES, torch.bfloat16, CPU)
    assert why is None
    assert 0 < error < 2e-2


def wrong_context(inputs: Inputs, weights: Weights, products: torch.dtype) -> tuple[Tensor, ...]:
    hidden, context, alignment = right(inputs, weights, products)
    return hidden, context * 1.1, alignment


def not_finite(inputs: Inputs, weights: Weights, products: torch.dtype) -> tuple[Tensor, ...]:
    hidden, context, alignment = right(inputs, weights, products)
    return hidden, context, alignment + torch.nan


def no_gradient_of_the_last_step(inputs: Inputs, weights: Weights, products: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.cat([output[:-1], output[-1:].detach()]) for output in right(inputs, weights, products))


def unsteady(inputs: Inputs, weights: Weights, products: torch.dtype) -> tuple[Tensor, ...]:
    hidden, context, alignment = right(inputs, weights, products)
    return hidden + 1e-6 * torch.rand(1), context, alignment


@pytest.mark.parametrize("attend", [wrong_context, not_finite, no_gradient_of_the_last_step, unsteady])
def test_a_recurrence_that_is_wrong_is_named(attend: Callable[..., tuple[Tensor, ...]]) -> None:
    why, _ = compare(attend, SIZES, torch.bfloat16, CPU)
    assert why is not None
    assert "differs from the reference" in why


def test_recorded_updates_equal_eager_ones() -> None:
    assert recording_fails(Network(), torch.float32, CPU, Emulated()) is None


def test_steps_that_overflow_in_both_runs_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp16 the first steps may be skipped, with infinite norms."""
    step = Update.step
    monkeypatch.setattr(Update, "step", lambda *arguments: torch.full_like(step(*arguments), torch.inf))
    assert recording_fails(Network(), torch.float32, CPU, Emulated()) is None


class Stale(Emulated):
    """Replays the first result for ever, as a graph would that reads other tensors than it is given."""

    def record(self, run: Callable[[], Any]) -> Callable[[], Any]:
        result = run()
        return lambda: result


def test_a_recording_that_fails_or_computes_something_else_is_named() -> None:
    assert "differs" in str(recording_fails(Network(), torch.float32, CPU, Stale()))
    failing = Emulated(NotRecordedError("operation not permitted when stream is capturing"))
    assert recording_fails(Network(), torch.float32, CPU, failing) == "operation not permitted when stream is capturing"


@pytest.fixture
def emulated_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of capability 9.0 whose kernels run in Triton's interpreter, if at all."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(selftest, "implementation", lambda how, device: "cuda")


def test_a_missing_compiler_is_named_with_the_package(emulated_card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.recurrence import triton_function

    def fails(*arguments: object) -> None:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    monkeypatch.setattr(triton_function, "attend", fails)
    monkeypatch.setenv("PATH", "")
    assert kernels_fail([Config()], torch.bfloat16, CPU) == ("there is no C compiler: apt install gcc python3-dev", 0.0)


def test_a_kernel_that_does_not_fit_is_named(emulated_card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import OutOfResources

    from model.recurrence import triton_function

    def fails(*arguments: object) -> None:
        raise OutOfResources(131_088, 101_376, "shared memory")

    monkeypatch.setattr(triton_function, "attend", fails)
    why, _ = kernels_fail([Config()], torch.bfloat16, CPU)
    assert "shared memory" in str(why)
    assert "101376" in str(why)


def test_a_full_card_is_not_taken_for_one_without_kernels(emulated_card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.recurrence import triton_function

    def fails(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(triton_function, "attend", fails)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 10**8, 24 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "card")
    monkeypatch.setattr(selftest, "draw", lambda *_, **__: (None, None))
    monkeypatch.setattr(selftest, "relative_errors", lambda attend, *_: attend())
    with pytest.raises(ValueError, match=r"need some memory of this card for a check, 0\.3 of 24\.0 GB are free: end the"):
        abilities([Config()], torch.bfloat16, torch.device("cuda"))


def test_cards_without_tensor_cores_take_the_deferred_recurrence(emulated_card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "capability 7.5" in str(kernels_fail([Config()], torch.float16, CPU)[0])


def test_the_verdict_takes_the_next_slower_way_and_says_why() -> None:
    assert verdict("card", (None, 4e-3), None, explicit=True) == Abilities(
        "cuda", True, ("kernels checked on this card: equal to the reference to 4e-03", "updates are recorded")
    )
    slow = verdict("card", ("no C compiler", 0.0), "not permitted", explicit=False)
    assert (slow.recurrence, slow.graphs) == ("deferred", False)
    assert "no C compiler" in slow.notes[0]
    assert "not permitted" in slow.notes[1]
    with pytest.raises(ValueError, match=r"network\.recurrence cuda: need kernels .* no C compiler: choose auto or deferred"):
        verdict("card", ("no C compiler", 0.0), None, explicit=True)


def test_a_configuration_is_trained_by_what_works_unless_it_says_how() -> None:
    able = Abilities("deferred", graphs=False)
    assert able.applied(Config()).network.recurrence == "deferred"
    explicit = Config(network=Network(recurrence="reference"))
    assert able.applied(explicit) is explicit


def test_a_cpu_is_measured_and_not_tested() -> None:
    found = abilities([Config()], torch.float32, CPU)
    assert (found.recurrence, found.graphs) == ("deferred", False)
    assert found.notes == (str(processor()),)
