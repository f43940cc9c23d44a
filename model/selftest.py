"""Check once in a process that this GPU computes what it should, and choose how updates run: the fastest way that is right.

The kernels of the attention recurrence are compared with the reference in float64 on the same card, an update that is recorded
as a graph with the same update launched kernel by kernel. What fails is replaced by the next slower way, with one sentence that
says why.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.config import Config, Network
from model.cpu.processor import processor
from model.cuda_graphs import EAGER, CapturedUpdate
from model.data.loading import Example, Loader
from model.layers import library_has_bf16
from model.memory import out_of_memory
from model.recorder import NotRecordedError, Recorder
from model.recurrence import Inputs, Weights, implementation, reference
from model.tacotron2 import Tacotron2
from model.train_step import Update

HALF_BOUND, SINGLE_BOUND = 2e-2, 1e-4  # relative errors, in norm, of outputs and gradients
UPDATE_BOUND = 1e-3  # relative difference of losses and gradient norms of a recorded update in single precision
STEPS, SYMBOLS = 4, 70  # of the recurrence that is compared: a tile and a part of one, and padding
TENSOR_CORES = (8, 0)  # the capability from which on Triton multiplies by them; below, deferred products of cuBLAS are faster

NO_LIBRARY_LSTM = "LSTMs run step by step, which is slower: need cuDNN 9.13 or newer for bf16"

Attend = Callable[[Inputs, Weights, torch.dtype], tuple[Tensor, ...]]
V = TypeVar("V", Inputs, Weights)


@dataclass(frozen=True, slots=True)
class Abilities:
    """How updates run in this process."""

    recurrence: str  # what network.recurrence=auto stands for
    graphs: bool  # updates are recorded
    notes: tuple[str, ...] = ()  # sentences for the user

    def applied(self, config: Config) -> Config:
        """Return the configuration as this process trains it."""
        network = config.network
        return config if network.recurrence != "auto" else replace(config, network=replace(network, recurrence=self.recurrence))


def abilities(configs: Sequence[Config], dtype: torch.dtype, device: torch.device) -> Abilities:
    """Check the device for networks and batches such as those of `configs`, whose products are of type `dtype`.

    Raises ValueError where `network.recurrence=cuda` is set and cannot run, and where the card has no memory for the checks.
    """
    if device.type != "cuda":
        return Abilities(implementation("auto", device), graphs=False, notes=(str(processor()),))
    try:
        kernels = kernels_fail(configs, dtype, device)
        recurrence = "cuda" if kernels[0] is None else "deferred"
        unrecorded = recording_fails(replace(configs[0].network, recurrence=recurrence), dtype, device)
    except (RuntimeError, MemoryError) as why:
        if not out_of_memory(why):
            raise
        free, total = (size / 1e9 for size in torch.cuda.mem_get_info(device))
        rule = (
            f"need some memory of this {torch.cuda.get_device_name(device)} for a check, {free:.1f} of {total:.1f} GB are free"
        )
        raise ValueError(f"{rule}: end the processes that use it, or choose another GPU") from why
    explicit = any(config.network.recurrence == "cuda" for config in configs)
    notes = () if dtype != torch.bfloat16 or library_has_bf16(device) else (NO_LIBRARY_LSTM,)
    return verdict(torch.cuda.get_device_name(device), kernels, unrecorded, explicit, notes)


def verdict(
    name: str, kernels: tuple[str | None, float], unrecorded: str | None, explicit: bool, notes: tuple[str, ...] = ()
) -> Abilities:
    """Choose how updates run on the card `name`.

    kernels: why they cannot be used, or None, and their largest relative error. unrecorded: why updates cannot be recorded.
    explicit: `network.recurrence=cuda` is set. Raises ValueError where that cannot run.
    """
    why, error = kernels
    if why is not None and explicit:
        raise ValueError(f"network.recurrence cuda: need kernels that work on this {name}, {why}: choose auto or deferred")
    checked = f"kernels checked on this {name}: equal to the reference to {error:.0e}"
    slower = f"the recurrence runs without kernels on this {name}, which is slower: {why}"
    recorded = "updates are recorded" if unrecorded is None else f"updates are not recorded, which is slower: {unrecorded}"
    sentences = (checked if why is None else slower, recorded, *notes)
    return Abilities("cuda" if why is None else "deferred", unrecorded is None, sentences)


def kernels_fail(configs: Sequence[Config], dtype: torch.dtype, device: torch.device) -> tuple[str | None, float]:
    """Return why the kernels cannot be used, or None, and the largest relative error found."""
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < TENSOR_CORES:
        return f"capability {capability[0]}.{capability[1]} has no tensor cores that Triton can use, 8.0 and higher have", 0.0
    if implementation("auto", device) != "cuda":
        return "Triton is not installed: pip install triton", 0.0
    sizes = {(config.training.batch_size, dimensions(config.network)) for config in configs}
    try:
        from model.recurrence import triton_function  # imports Triton, which not every machine has

        return compare(triton_function.attend, sizes, dtype, device)
    except Exception as why:  # whatever a compiler, a driver or a card fails with: the deferred recurrence needs none of them
        if out_of_memory(why):  # it needs memory, too
            raise
        return cause(why), 0.0


def compare(
    attend: Attend, sizes: set[tuple[int, tuple[int, int, int, int]]], dtype: torch.dtype, device: torch.device
) -> tuple[str | None, float]:
    """Compare the recurrence with the reference for each (batch, sizes), in the type of training and in single precision."""
    largest = 0.0
    for (batch, size), (kind, bound) in (
        (one, other) for one in sorted(sizes) for other in ((dtype, HALF_BOUND), (torch.float32, SINGLE_BOUND))
    ):
        bound = SINGLE_BOUND if kind == torch.float32 else bound
        errors = relative_errors(attend, draw(size, (STEPS, batch, SYMBOLS), dropout=True, device=device), kind)
        worst = worst_of(errors)
        if not errors[worst] <= bound:
            return (
                f"{worst} differs from the reference by {errors[worst]:.1e} at batch {batch} in {kind}, allowed {bound:g}",
                0.0,
            )
        largest = max(largest, errors[worst])
    return None, largest


def recording_fails(network: Network, dtype: torch.dtype, device: torch.device, recorder: Recorder | None = None) -> str | None:
    """Return why updates cannot be recorded, or None: losses and gradient norms must be those of updates that are not."""
    small = replace(network, embedding=32, encoder=32, prenet=32, attention_rnn=32, decoder_rnn=32, attention=32, postnet=32)
    config = Config(network=small)
    random = np.random.default_rng(0)
    mel = random.standard_normal((40, config.audio.mel_bands)).astype(np.float32)
    loader = Loader([Example(tuple(random.integers(1, 9, 20).tolist()), mel) for _ in range(4)], device)
    records = []
    for recorded in (True, False):
        torch.manual_seed(0)
        update = Update(Tacotron2(small, 10, config.audio.mel_bands).to(device), config, 1.0, dtype, device)
        update.rate.fill_(1e-3)
        update.scaler = torch.amp.GradScaler(device.type, init_scale=1.0, enabled=update.scaler.is_enabled())
        run: Callable[[list[int]], tuple[Tensor, Any]] = lambda rows: update([loader(rows)])  # noqa: B023, E731
        if recorded:
            run = CapturedUpdate(update, loader, 4, recorder)
        try:
            records.append(torch.stack([run([0, 1, 2, 3])[0] for _ in range(EAGER + 3)]))
        except NotRecordedError as why:
            return str(why)
    one, other = records
    differs = difference(one, other)
    bound = UPDATE_BOUND if dtype == torch.float32 else HALF_BOUND  # where rounding is enough to differ by 5e-3
    return None if differs <= bound else f"a recorded update differs by {differs:.1e}, allowed {bound:g}"


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest relative difference of two records' elements. Infinite in both is equal: fp16 skips such steps."""
    return float(((one - other).abs() / other.abs().clamp(min=1e-6)).masked_fill(one == other, 0).max())


def worst_of(errors: dict[str, float]) -> str:
    """Return the name of the largest error; one that is not a number is larger than any."""
    return max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else float("inf"))


def cause(why: BaseException) -> str:
    """Return one sentence on why kernels cannot be compiled or launched, with the way out where there is one."""
    text = (str(why).splitlines() or [type(why).__name__])[0]
    if not any(shutil.which(compiler) for compiler in ("cc", "gcc", "clang")):
        return "there is no C compiler: apt install gcc python3-dev"
    if "Python.h" in str(why):
        return "Python's headers are missing: apt install python3-dev"
    return f"{type(why).__name__}: {text}"


def dimensions(network: Network) -> tuple[int, int, int, int]:
    """Return the sizes (A, E, D, K) of a network's recurrence."""
    return network.attention_rnn, network.encoder, network.attention, network.location_kernel


def draw(sizes: tuple[int, ...], shape: tuple[int, int, int], dropout: bool, device: torch.device) -> tuple[Inputs, Weights]:
    """Draw a recurrence of sizes (A, E, D, K) and shape (T, B, N) in float64, of values that bf16 has, with padding."""
    (A, E, D, K), (T, B, N) = sizes, shape

    def leaf(*size: int, scale: float) -> Tensor:
        return (torch.randn(*size, dtype=torch.float64, device=device) * scale).bfloat16().double()

    lengths = torch.randint((N + 1) // 2, N + 1, (B,), device=device)
    padding = torch.arange(N, device=device) >= lengths[:, None]
    memory = leaf(B, N, E, scale=0.5) * ~padding[:, :, None]
    mask = ((torch.rand(T, B, A, device=device) > 0.1).double() / 0.9).bfloat16().double() if dropout else None
    inputs = Inputs(leaf(T, B, 4 * A, scale=0.5), memory, leaf(B, N, D, scale=0.5), padding, mask)
    recurrent, query = leaf(4 * A, E + A, scale=(E + A) ** -0.5), leaf(D, A, scale=A**-0.5)
    return inputs, Weights(recurrent, query, leaf(D, 2, K, scale=K**-0.5), leaf(D, scale=2 * D**-0.5))


def relative_errors(attend: Attend, drawn: tuple[Inputs, Weights], dtype: torch.dtype) -> dict[str, float]:
    """Return the relative error, in norm, of each output and gradient of a recurrence; infinite where two runs differ."""
    inputs, weights = drawn
    expected = outputs_and_gradients(reference.attend, inputs, weights)
    rounded = _in(inputs, dtype), _in(weights, torch.float32)
    runs = []
    for _ in range(2):
        poison(inputs.memory.device)
        runs.append(outputs_and_gradients(lambda i, w: attend(i, w, dtype), *rounded))
    # With a single symbol or a single step, some gradients are zero.
    return {
        name: float((runs[0][name].double() - value).norm() / value.norm().clamp(min=1e-3))
        if torch.equal(runs[0][name], runs[1][name])
        else float("inf")
        for name, value in expected.items()
    }


def outputs_and_gradients(
    attend: Callable[[Inputs, Weights], tuple[Tensor, ...]], inputs: Inputs, weights: Weights
) -> dict[str, Tensor]:
    """Return the outputs of a recurrence, and the gradients of a random sum of them."""
    every = {field.name: getattr(value, field.name) for value in (inputs, weights) for field in fields(value)}
    leaves = {n: x.requires_grad_() for n, x in every.items() if x is not None and x.dtype != torch.bool and n != "dropout"}
    outputs = dict(zip(("hidden", "context", "alignment"), attend(inputs, weights), strict=True))
    generator = torch.Generator().manual_seed(7)
    loss = torch.zeros((), dtype=torch.float64, device=inputs.memory.device)
    for output in outputs.values():
        loss = (
            loss
            + (output.double() * torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.device)).sum()
        )
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {n: x.detach() for n, x in outputs.items()} | {f"d {n}": g for n, g in zip(leaves, gradients, strict=True)}


def poison(device: torch.device) -> None:
    """Fill the memory that the allocator will return next with NaN: no result is left from an earlier run."""
    blocks = [torch.full((size,), torch.nan, device=device) for size in (2**10, 2**16, 2**20, 2**22) for _ in range(8)]
    del blocks


def _in(values: V, dtype: torch.dtype) -> V:
    def move(x: Tensor | None) -> Any:
        return x if x is None or x.dtype == torch.bool else x.detach().to(dtype)

    return replace(values, **{field.name: move(getattr(values, field.name)) for field in fields(values)})
