"""The benchmark runs, reports its documented numbers, refuses unknown peers, and needs no more than torch and NumPy.

TACOTUNE_NVIDIA=DIR names a checkout of NVIDIA/tacotron2, with which ours is then compared.
"""

import json
import math
import os
import re
import subprocess
import sys
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model
from benchmarks import train_step
from benchmarks.lengths import FRAMES, draw
from benchmarks.train_step import Ours, corpus, flops
from model.config import Config, Network
from model.tacotron2 import Tacotron2

ROOT = Path(__file__).parent.parent.parent
CHECKOUT = os.environ.get("TACOTUNE_NVIDIA")
SMALL = ("--device", "cpu", "--profile", "demo", "--batch", "2", "--updates", "1", "--repeats", "1", "--threads", "1")
MODULES = (
    "model.trainer",
    "model.cuda_graphs",
    "model.synthesis",
    "model.nvidia",
    "benchmarks.train_step",
    "benchmarks.check_gpu",
    "benchmarks.gpu",
    "benchmarks.limits",
    "benchmarks.machine",
)
WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {missing} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
import torch, {modules}
from model.config import Config, Network
config = Config(network=Network(embedding=2, encoder=2, prenet=2, attention_rnn=2, decoder_rnn=2, postnet=2))
cpu = torch.device("cpu")
{more}
print("loaded")
"""


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a hundred utterances of an eighth of their length."""
    monkeypatch.setattr(train_step, "UTTERANCES", 100)
    monkeypatch.setattr(train_step, "draw", lambda count, seed: tuple(lengths // 8 + 1 for lengths in draw(count, seed)))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["train_step", *SMALL, *arguments])
    train_step.main()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("_short")
def test_it_measures_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--json", str(tmp_path / "out.json"))
    results = read(tmp_path / "out.json")
    assert results["ratios"] == {}
    assert list(results["batches"]) == ["2"]
    row = results["batches"]["2"]
    parts = ("data", "encoder", "recurrence", "decoder LSTM", "postnet", "backward", "optimiser", "rest of forward")
    assert tuple(row["split"]) == parts
    measured = [*row["split"].values(), row["same_batch"]["ours"], row["epoch"]["ours"], row["gemm_share"], row["memory_gb"]]
    assert all(math.isfinite(value) and value > 0 for value in [*measured, *results["gemm_tflops"].values()])
    assert 0 < row["padding_waste"] < 0.5
    assert row["precision"] == "fp32", "the demo's network is narrow"
    printed = capsys.readouterr().out
    assert "ours" in printed
    assert all(part in printed for part in parts)


@pytest.mark.usefixtures("_short")
@pytest.mark.skipif(CHECKOUT is None, reason="TACOTUNE_NVIDIA names no checkout of NVIDIA/tacotron2")
def test_it_measures_nvidias_trainer_and_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--batch", "2,3", "--peer", f"nvidia={CHECKOUT}", "--json", str(tmp_path / "out.json"))
    results = read(tmp_path / "out.json")
    assert list(results["ratios"]) == ["nvidia"]
    assert list(results["ratios"]["nvidia"]) == ["2", "3"]
    for size, ratios in results["ratios"]["nvidia"].items():
        assert list(ratios) == ["same_batch", "epoch"]
        for name, ratio in ratios.items():
            rates = results["batches"][size][name]
            assert math.isfinite(ratio)
            assert ratio == pytest.approx(rates["ours"] / rates["nvidia"])
            assert min(rates.values()) > 0
    assert sys.modules["model"] is model, "its modules have the names of ours"


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("peer", ["nvidia=/nowhere", "nvidia", "torchaudio=/nowhere", "somebody"])
def test_an_unknown_peer_is_refused_in_one_sentence(
    peer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_step, "gemm_peak", lambda device, dtype: 1.0)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--peer", peer)
    assert ended.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("need a ")


def test_the_lengths_are_those_of_ljspeech() -> None:
    symbols, frames = draw(13_100, seed=0)
    assert float(frames.mean()) == pytest.approx(566, rel=0.01)
    assert float(symbols.mean()) == pytest.approx(100, rel=0.02)
    assert (frames.min(), frames.max()) == FRAMES
    assert np.corrcoef(symbols, frames)[0, 1] > 0.9
    assert not np.array_equal(draw(100, seed=1)[1], draw(100, seed=2)[1])


@pytest.mark.parametrize("size", [16, 64])
def test_bucketed_batches_waste_little(size: int) -> None:
    config = Config(network=Network(encoder=2, prenet=2, attention_rnn=2, decoder_rnn=2, postnet=2, embedding=2))
    examples, _, frames = corpus(config.audio.mel_bands)
    ours = Ours(config, examples, torch.device("cpu"))
    assert 0 < ours.waste(size) < 0.07
    ours.trainer.train.frames = np.full_like(frames, 500)
    assert ours.waste(size) == 0


def test_operations_are_counted_for_each_use_of_a_weight() -> None:
    """Each weight multiplies once for every symbol, for every frame, or for every symbol in every frame."""
    config, (symbols, frames) = Config(), (100, 566)
    with torch.device("meta"):
        network = Tacotron2(config.network, 80, config.audio.mel_bands)
    sizes = config.network
    merged = 2 * sizes.location_kernel * sizes.attention  # location convolution and dense
    total = symbols * frames * (merged + sizes.encoder)  # and the contexts
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or "embedding" in name or "location" in name:
            continue
        each_symbol = name.startswith(("encoder", "attention.memory", "attention.energy"))
        each_frame = not name.startswith(("encoder", "attention.memory"))
        total += weight.numel() * (symbols if each_symbol else 1) * (frames if each_frame else 1)
    assert flops(config, np.array([symbols]), np.array([frames])) == pytest.approx(6 * total / frames, rel=1e-9)
    assert flops(config, *draw(13_100, seed=0)) == pytest.approx(145e6, rel=0.15)  # as published


def other_modules() -> set[str]:
    """Return the importable modules that are not ours and that torch, NumPy and Triton do not need."""
    kept, left = {"tacotune"}, ["torch", "numpy", "triton"]
    installed = {normal(distribution.name) for distribution in distributions()}
    while left:
        name = left.pop()
        if name in installed - kept:
            kept.add(name)
            left += [normal(re.split(r"[^\w.-]", line)[0]) for line in requires(name) or [] if "extra ==" not in line]
    return {module for module, owners in packages_distributions().items() if not {normal(owner) for owner in owners} & kept}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    "more",
    [
        "benchmarks.train_step.Ours(config, benchmarks.train_step.corpus(80)[0][:2], cpu)([0, 1])",
        pytest.param(
            f"benchmarks.peers.peer({f'nvidia={CHECKOUT}'!r}, config, 80, cpu)",
            marks=pytest.mark.skipif(CHECKOUT is None, reason="TACOTUNE_NVIDIA names no checkout of NVIDIA/tacotron2"),
        ),
    ],
    ids=["ours", "NVIDIA's trainer"],
)
def test_torch_and_numpy_are_enough(more: str) -> None:
    """Everything that benchmarks/gpu.sh runs needs only these, on a machine without our other dependencies."""
    missing = other_modules()
    assert {"librosa", "optuna", "pydantic", "yaml", "scipy", "rich"} <= missing
    assert not {"torch", "numpy", "sympy", "model"} & missing
    code = WITHOUT.format(missing=sorted(missing), modules=", ".join(MODULES), more=more)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr
