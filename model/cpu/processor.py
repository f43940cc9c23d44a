"""Measure once on a machine which products its processor runs fast: a flag that an instruction exists does not say so.

On an Intel Xeon with avx512_bf16, products in bf16 take 1.4 to 1.8 times as long as in single precision; on a Zen 5 half as
long.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.files import alone, atomic_write, cache_folder

AVAILABLE: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
ONEDNN = AVAILABLE and hasattr(torch.ops.mkldnn, "_linear_pointwise")
HALF: bool = ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()

ROWS, INPUTS, OUTPUTS = 16, 1_536, 4_096  # one step of the attention LSTM at full size
ROUNDS, REPEATS = 6, 5  # the fastest product counts: other work on the machine only adds
MARGIN = 1.25  # by which the other choice must be faster: a tie must not be decided by chance, and numbers change with it


@dataclass(frozen=True, slots=True)
class Processor:
    """Milliseconds of one product on one core; infinite where it is not possible."""

    name: str
    mkl: float
    onednn: float  # with packed weights
    bf16: float  # by oneDNN

    @property
    def single_by_onednn(self) -> bool:
        """Multiply single precision by oneDNN, not by MKL."""
        return self.onednn <= MARGIN * self.mkl

    @property
    def half_is_fast(self) -> bool:
        """Multiply in bf16 where a network is large enough to gain."""
        return MARGIN * self.bf16 <= min(self.mkl, self.onednn)

    def __str__(self) -> str:
        if not math.isfinite(self.onednn):
            return f"products on this {self.name}: by MKL, oneDNN is missing"
        half = f"bf16 {self.onednn / self.bf16:.1f}" if math.isfinite(self.bf16) else "no bf16"
        return f"products on this {self.name}: oneDNN {self.mkl / self.onednn:.1f} times as fast as MKL, {half} times"


@cache
def processor() -> Processor:
    """Return this machine's figures: measured if no process has done so before, which takes a quarter of a second.

    They are kept in the user's cache folder, so that all processes multiply alike: a trial that resumes with other products is
    the same voice, but not bit for bit. Of several processes one measures, and the others wait for it.
    """
    name = _name()
    key = f"{name}, torch {torch.__version__}"
    path = cache_file()
    known = _read(path)
    if key not in known:
        try:
            known = _kept(path, key, name)
        except OSError:
            known = {key: asdict(_measured(name))}  # each process measures for itself
    return Processor(**known[key])


def _kept(path: Path, key: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the figures of the file, with those of `key` measured if no other process has done so meanwhile."""
    with alone(path.with_suffix(".lock")):
        known = _read(path)
        if key not in known:
            known |= {key: asdict(_measured(name))}
            with atomic_write(path) as part:
                part.write_text(json.dumps(known), encoding="utf-8")
    return known


def cache_file() -> Path:
    """Return the file of the figures, in the user's cache folder."""
    return cache_folder() / "processors.json"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {key: asdict(Processor(**values)) for key, values in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    numbers = "/".join(facts[name].strip() for name in ("cpu family", "model", "stepping") if name in facts)
    return f"{facts.get('model name', platform.machine()).strip()} {numbers}".strip()


def _measured(name: str) -> Processor:
    with torch.no_grad(), torch.autocast("cpu", enabled=False):  # the first product of a process may be an update's
        return Processor(name, **_milliseconds())


def _milliseconds() -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        own = torch.Generator().manual_seed(0)  # a trainer's seed fixes the global one
        x, weight = torch.randn(ROWS, INPUTS, generator=own), torch.randn(OUTPUTS, INPUTS, generator=own)
        products: dict[str, Callable[[], object]] = {"mkl": lambda: x @ weight.t()}
        if ONEDNN:
            products["onednn"] = _by_onednn(x, weight)
        if HALF:
            products["bf16"] = _by_onednn(x.bfloat16(), weight.bfloat16())
        times = dict.fromkeys(("mkl", "onednn", "bf16"), math.inf)
        for _ in range(ROUNDS):
            for kind, product in products.items():  # in turns, so that other work on the machine slows all of them
                for _ in range(REPEATS):  # the weights stay in the cache, as from one step to the next
                    began = time.perf_counter()
                    product()
                    times[kind] = min(times[kind], 1e3 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(threads)
    return {kind: round(milliseconds, 4) for kind, milliseconds in times.items()}


def _by_onednn(x: Tensor, weight: Tensor) -> Callable[[], object]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
