"""Count the memory of an update on a GPU that is not here: `python -m benchmarks.memory --batch 16 64 256`.

One update of the full profile runs on tensors that have only a shape, while a counter adds up the bytes that live. Prints a
Markdown table in GB of 10^9 bytes: every utterance has `--frames` and `--symbols`, as in the longest batch of a corpus.

Counted is what PyTorch is asked for. Not counted: CUDA itself, workspaces of cuDNN and cuBLAS, gaps between blocks, the corpus
(up to a tenth of the card), validation. The LSTMs are ours, which keep more than cuDNN's.

Needs torch and Triton, no GPU. Takes half a minute for each batch size on an idle core.
"""

import argparse
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from benchmarks.lengths import draw
from model.config import Config
from model.cuda_graphs import Shapes, StaticInputs
from model.layers import own_lstm
from model.tacotron2 import Tacotron2
from model.train_step import Update

CARDS = (8, 12, 16, 24, 80, 141)  # GB as sold, counted as 10^9 bytes; the 7 % that they have beyond are left for CUDA itself
SYMBOLS = 80  # of the text's alphabet
UTTERANCES = 13_100  # of the corpus from which the shapes of recorded updates are taken


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made while it is active: those that live now, and the most that ever did."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: dict[int, Any] = {}  # storages by their id, which is theirs while they live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for output in tree_iter(outputs):
            if isinstance(output, Tensor):
                self._count(output.untyped_storage())
        return outputs

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def end(_: Any) -> None:
            del self._known[key]
            self.live -= size

        self._known[key] = weakref.ref(storage, end)
        self.live += size
        self.peak = max(self.peak, self.live)


class NoValues(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Gives tensors a shape and no values. A condition on a value, as Adam's on its rate, is taken to be true."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._fused_adam_.tensor_lr:  # works in place; PyTorch would run it on zeros
            return None
        if func is torch.ops.aten._local_scalar_dense.default:
            return True
        return super().__torch_dispatch__(func, types, args, kwargs or {})


@dataclass(frozen=True, slots=True)
class Need:
    """The bytes that updates need, by what they are for."""

    weights: int
    optimiser: int
    inputs: int  # of one batch
    activations: int  # at the peak of an update, gradients and temporary results included
    outputs: int  # of one batch: a recorded update keeps them

    @property
    def eager(self) -> int:
        """Return the bytes of updates that are launched kernel by kernel."""
        return self.weights + self.optimiser + self.inputs + self.activations


def count(config: Config, utterances: int, symbols: int, frames: int, device: torch.device, dtype: torch.dtype) -> Need:
    """Count one update after the first, of `utterances` that all have `symbols` and `frames`, with products in `dtype`."""
    with Counter() as counter:
        with torch.device(device):
            network = Tacotron2(config.network, SYMBOLS, config.audio.mel_bands)
        weights = counter.live
        update = Update(network, config, 1.0, dtype, device)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        update.optimiser.step()  # makes the moments, which later updates find
        update.optimiser.zero_grad(set_to_none=True)
        optimiser = counter.live - weights
        inputs = StaticInputs(utterances, symbols, frames, config.audio.mel_bands, device)
        batch = inputs.batch(utterances, symbols, frames)
        before = counter.peak = counter.live
        outputs = update([batch])[1]
        peak, live = counter.peak, counter.live
        del outputs
        return Need(weights, optimiser, before - weights - optimiser, peak - before, live - counter.live)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Have the CPU compute as a GPU does, on tensors that have only a shape: kernels do nothing, with the tiles of an H200."""
    from model.recurrence import triton_function
    from model.recurrence.triton_launch import Launcher
    from model.recurrence.triton_tiles import H200

    class Silent(Launcher):
        def __call__(self, kernel: Any, grid: dict[str, int], **steps: int) -> None:
            pass

    def dropout(x: Tensor, share: float, training: bool = True) -> Tensor:
        return torch.native_dropout(x, share, training)[0] if training and share else x  # keeps a byte for each value

    def lstm(rnn: nn.LSTM, x: Tensor) -> Tensor:
        return own_lstm(rnn, x.transpose(0, 1)).transpose(0, 1) if rnn.batch_first else own_lstm(rnn, x)

    replacements = {
        "model.layers.dropout": dropout,
        "model.tacotron2.dropout": dropout,
        "model.tacotron2.dropout_mask": lambda shape, share, like: dropout(like.new_ones(*shape), share),
        "model.layers.run_lstm": lstm,
        "model.tacotron2.run_lstm": lstm,
        "model.cpu.matmul.ONEDNN": False,
        "model.recurrence.implementation": lambda how, device: how,
    }
    with ExitStack() as stack:
        for name, replacement in replacements.items():
            stack.enter_context(mock.patch(name, replacement))
        stack.enter_context(mock.patch.object(triton_function, "Launcher", Silent))
        stack.enter_context(mock.patch.object(triton_function, "card_of", return_value=H200))
        stack.enter_context(NoValues())
        yield


def kept(outputs: int, frames: int) -> int:
    """Return at most how many bytes the outputs of the other shapes take, if those of the longest take `outputs`.

    Their frames are LJSpeech's. Alignments also have fewer symbols there, which is not counted.
    """
    others = Shapes(*draw(UTTERANCES, seed=0)).frames[:-1]
    return int(outputs * np.minimum(others, frames).sum() / frames)


def row(utterances: int, need: Need, frames: int) -> str:
    """Return a row of the table. Totals come with the smallest card that holds them."""

    def total(size: int) -> str:
        fits = [f"{card} GB" for card in CARDS if size <= card * 1e9]
        return f"{size / 1e9:.1f}: {fits[0] if fits else 'none'}"

    recorded = need.eager + kept(need.outputs, frames)
    parts = " | ".join(f"{size / 1e9:.2f}" for size in (need.weights, need.optimiser, need.inputs, need.activations))
    totals = " | ".join(map(total, (need.eager, recorded, recorded + need.activations)))
    return f"| {utterances} | {parts} | {totals} |"


def main(typed: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32, 64, 128, 256], help="utterances")
    parser.add_argument("--frames", type=int, default=800, help="of each utterance (default 800)")
    parser.add_argument("--symbols", type=int, default=160, help="of each utterance (default 160)")
    parser.add_argument("--reduction", type=int, default=1, help="frames per decoder step (default 1)")
    parser.add_argument("--recurrence", choices=("cuda", "deferred", "reference"), default="cuda", help="default cuda")
    parsed = parser.parse_args(typed)
    base = Config()
    config = replace(base, network=replace(base.network, recurrence=parsed.recurrence, reduction=parsed.reduction))
    print(f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}, {parsed.symbols} symbols, {parsed.frames} frames\n")
    print("| batch | weights | optimiser | inputs | activations | launched one by one | recorded | while recording |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for utterances in parsed.batch:
        with as_on_a_gpu():
            need = count(config, utterances, parsed.symbols, parsed.frames, torch.device("cpu"), torch.bfloat16)
        print(row(utterances, need, parsed.frames), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
