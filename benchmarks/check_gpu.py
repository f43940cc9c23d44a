"""Check the results of this GPU: `python -m benchmarks.check_gpu`. The exit code is 0, or 1 if a check fails.

Compares the recurrence's kernels with the plain recurrence in double precision on the CPU, a captured update with the same
update launched kernel by kernel, and a synthesis on the GPU with one on the CPU. Needs torch, Triton and NumPy only. Inputs are
random, and memory is filled with NaN beforehand, so that no correct result is left from an earlier check.
"""

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.config import Config, Network, Training
from model.data.loading import Example
from model.recurrence import Inputs, Weights
from model.synthesis import synthesise
from model.trainer import Speech, Trainer

V = TypeVar("V", Inputs, Weights)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # relative errors, in norm, of outputs and gradients
SIZES = {"full": (1024, 512, 128, 31), "odd": (72, 40, 24, 5)}
SHAPES = {  # T, B, N
    "usual": (60, 64, 100),
    "long": (200, 8, 190),
    "one utterance": (40, 1, 60),
    "one symbol": (10, 3, 1),
    "one step": (1, 33, 90),
}


def main() -> int:
    if not torch.cuda.is_available():
        print("need a CUDA device, torch finds none", file=sys.stderr)
        return 2
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    results = []
    for sizes in SIZES:
        for shape in SHAPES:
            for dtype, bound in BOUNDS.items():
                for dropout in (False, True):
                    error, where = recurrence(SIZES[sizes], SHAPES[shape], dtype, dropout)
                    results.append(report(f"recurrence {sizes}, {shape}, {dtype}, dropout {dropout}: {where}", error, bound))
    results.append(report("captured updates, terms and gradient norms of six", captured(), 1e-3))
    results.append(report("synthesis on the GPU, mel", synthesis(), 1e-3))
    print(f"{sum(results)} of {len(results)} checks hold")
    return 0 if all(results) else 1


def report(what: str, error: float, bound: float) -> bool:
    """Print a check, and return True if it holds."""
    holds = error <= bound  # False for NaN
    print(f"{'ok ' if holds else 'BAD'} {error:.2e} (at most {bound:.0e})  {what}")
    return holds


def poison() -> None:
    """Fill the memory that the allocator will return next with NaN."""
    blocks = [torch.full((size,), torch.nan, device=GPU) for size in (2**10, 2**16, 2**20, 2**24, 2**26) for _ in range(8)]
    del blocks


def recurrence(sizes: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype, dropout: bool) -> tuple[float, str]:
    """Return the largest relative error of all outputs and gradients, and the name of that tensor."""
    from model.recurrence import reference  # with Triton's, which not every machine can import
    from model.recurrence import triton_function as cuda

    inputs, weights = draw(sizes, shape, dropout)
    expected = run(reference.attend, inputs, weights)
    poison()
    rounded = _moved(inputs, GPU, dtype), _moved(weights, GPU, torch.float32)
    got = run(lambda i, w: cuda.attend(i, w, dtype), *rounded)
    # With a single symbol or a single step, some gradients are zero.
    norms = {name: value.norm().clamp(min=1e-3) for name, value in expected.items()}
    errors = {name: float((got[name].cpu().double() - value).norm() / norms[name]) for name, value in expected.items()}
    where = max(errors, key=lambda name: errors[name] if errors[name] == errors[name] else float("inf"))
    return errors[where], where


def draw(sizes: tuple[int, ...], shape: tuple[int, ...], dropout: bool) -> tuple[Inputs, Weights]:
    (A, E, D, K), (T, B, N) = sizes, shape

    def leaf(*size: int, scale: float) -> Tensor:
        return (torch.randn(*size, dtype=torch.float64) * scale).bfloat16().double()

    lengths = torch.randint((N + 1) // 2, N + 1, (B,))
    padding = torch.arange(N) >= lengths[:, None]
    memory = leaf(B, N, E, scale=0.5) * ~padding[:, :, None]
    mask = ((torch.rand(T, B, A) > 0.1).double() / 0.9).bfloat16().double() if dropout else None
    inputs = Inputs(leaf(T, B, 4 * A, scale=0.5), memory, leaf(B, N, D, scale=0.5), padding, mask)
    recurrent, query = leaf(4 * A, E + A, scale=(E + A) ** -0.5), leaf(D, A, scale=A**-0.5)
    return inputs, Weights(recurrent, query, leaf(D, 2, K, scale=K**-0.5), leaf(D, scale=2 * D**-0.5))


def _moved(values: V, device: torch.device, dtype: torch.dtype) -> V:
    def move(x: Tensor | None) -> Any:
        return x if x is None else x.to(device) if x.dtype == torch.bool else x.to(device, dtype)

    return replace(values, **{field.name: move(getattr(values, field.name)) for field in fields(values)})


def run(attend: Callable[[Inputs, Weights], tuple[Tensor, ...]], inputs: Inputs, weights: Weights) -> dict[str, Tensor]:
    every = {f.name: getattr(value, f.name) for value in (inputs, weights) for f in fields(value)}
    leaves = {n: x.requires_grad_() for n, x in every.items() if x is not None and x.dtype != torch.bool and n != "dropout"}
    outputs = dict(zip(("hidden", "context", "alignment"), attend(inputs, weights), strict=True))
    generator = torch.Generator().manual_seed(7)
    loss = torch.zeros((), dtype=torch.float64)
    for output in outputs.values():
        loss = loss + (output.cpu().double() * torch.randn(output.shape, generator=generator, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {n: x.detach() for n, x in outputs.items()} | {f"d {n}": g for n, g in zip(leaves, gradients, strict=True)}


def speech(utterances: int) -> Speech:
    random = np.random.default_rng()
    lengths = random.integers(60, 90, utterances)
    examples = [
        Example(tuple(random.integers(1, 40, n // 6).tolist()), random.standard_normal((n, 80)).astype(np.float32))
        for n in lengths
    ]
    return Speech(examples, examples[:2], tuple(map(str, range(40))), mel_mean=0.0, mel_std=1.0)


def captured() -> float:
    """Return the largest relative difference of two trainers of one seed: one replays graphs, one launches every kernel."""
    without_dropout = {f"{name}_dropout": 0.0 for name in ("encoder", "prenet", "attention", "decoder", "postnet")}
    training = Training(batch_size=16, precision="fp32", warmup_share=0.0)
    config = Config(network=Network(**without_dropout), training=training)  # type: ignore[arg-type]
    data = speech(16)
    trainers = [Trainer(config, data, 1e9, 1, GPU, seed=3) for _ in range(2)]
    assert trainers[0].captured is not None
    trainers[1].captured = None
    for trainer in trainers:
        steps = trainer.steps()
        for _ in range(6):
            next(steps)
    assert trainers[0].captured.recorded, "no update was captured"
    one, other = (torch.stack(trainer.window.records) for trainer in trainers)
    assert other[-1, 0] < 0.9 * other[0, 0], "the loss did not fall"
    return float(((one - other).abs() / other.abs()).max())


def synthesis() -> float:
    """Return the relative difference of the mels that the same weights synthesise from the same sentences on both devices."""
    trainer = Trainer(Config(network=Network(prenet=64), training=Training(batch_size=4)), speech(4), 1e9, 1, GPU, seed=3)
    network = trainer.network
    ids, lengths = torch.randint(1, 40, (3, 20)), torch.tensor([20, 14, 9])
    on_gpu = synthesise(network, ids.to(GPU), lengths.to(GPU))
    on_cpu = synthesise(network.to(CPU), ids, lengths)
    frames = int(min(on_gpu.frame_lengths.min(), on_cpu.frame_lengths.min(), torch.tensor(200)))
    got, expected = on_gpu.mel[:, :frames].cpu(), on_cpu.mel[:, :frames]
    return float((got - expected).norm() / expected.norm())


if __name__ == "__main__":
    sys.exit(main())
