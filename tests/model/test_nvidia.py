"""NVIDIA's checkpoints have the published names, shapes and equations, are exact in both directions, or are refused.

TACOTUNE_NVIDIA=DIR names a checkout of NVIDIA/tacotron2, whose network is then compared with ours.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model import nvidia
from model.config import Audio, Config, Network
from model.data.loading import Example, collate
from model.tacotron2 import Outputs, Tacotron2
from model.trainer import Speech, Trainer
from tests.conftest import ALPHABET, BANDS, SYMBOLS, tiny_config, tiny_network, toy_speech
from tests.model.nvidia_equations import published

CHECKOUT = os.environ.get("TACOTUNE_NVIDIA")


def build(network: Network | None = None, symbols: int = SYMBOLS, bands: int = BANDS) -> Tacotron2:
    """Build a network with batch-norm statistics as after training."""
    torch.manual_seed(0)
    built = Tacotron2(network or tiny_network(embedding=12, standardise=False), symbols, bands)
    for name, value in built.named_buffers():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return built.eval()


def saved(network: Tacotron2, folder: Path) -> dict[str, Any]:
    values = torch.load(nvidia.save(network, folder / "x.pt"), weights_only=True)
    assert values["iteration"] == 0
    return dict(values["state_dict"])


def utterance(bands: int = BANDS, symbols: int = SYMBOLS) -> tuple[Example, Tensor]:
    """Draw raw log-mels with silence in them, and masks (2, T + 1, 1, P) for a prenet of any size up to 256."""
    random = np.random.default_rng(4)
    mel = random.uniform(-11.5, 2, size=(23, bands)).astype(np.float32)
    return Example(tuple(random.integers(1, symbols, 9).tolist()), mel), torch.rand(2, 24, 1, 256).ge(0.5) * 2.0


def shared(layers: Iterable[nn.Module], masks: Tensor) -> Callable[..., Tensor]:
    """Return a forward function for a prenet, (T, 1, M) -> (T, 1, P), with these masks, whatever it is given."""

    def forward(x: Tensor, _: Tensor | None = None) -> Tensor:
        for layer, mask in zip(layers, masks, strict=True):
            x = layer(x).relu() * mask[: len(x), :, : layer(x).shape[2]]
        return x

    return forward


@torch.no_grad()
def ours(network: Tacotron2, example: Example, masks: Tensor) -> Outputs:
    network.prenet.forward = shared(network.prenet.layers, masks)  # type: ignore[method-assign]
    outputs: Outputs = network.eval()(collate([example]))
    return outputs


def assert_equal(one: Outputs, other: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    for own, theirs in zip((one.mel_before[0], one.mel_after[0], one.gate[0], one.alignment[0]), other, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)


def test_outputs_follow_the_published_equations(tmp_path: Path) -> None:
    network = build()
    example, masks = utterance()
    weights = saved(network, tmp_path)
    width = network.network.prenet
    expected = published(weights, torch.tensor(example.ids), torch.from_numpy(example.mel), masks[..., :width])
    assert_equal(ours(network, example, masks), expected)
    assert_equal(ours(nvidia.load(weights), example, masks), expected)


def test_names_and_shapes_are_the_published_ones() -> None:
    """They are those of NVIDIA's own checkpoint, tacotron2_statedict.pt."""
    lstms = {
        "encoder.lstm.{}_l0": (1024, 512, 256),
        "encoder.lstm.{}_l0_reverse": (1024, 512, 256),
        "decoder.attention_rnn.{}": (4096, 768, 1024),
        "decoder.decoder_rnn.{}": (4096, 1536, 1024),
    }
    convolutions = {f"encoder.convolutions.{i}": (512, 512, 5) for i in range(3)}
    convolutions |= {f"postnet.convolutions.{i}": (512, 512, 5) for i in range(1, 4)}
    convolutions |= {"postnet.convolutions.0": (512, 80, 5), "postnet.convolutions.4": (80, 512, 5)}
    place = "decoder.attention_layer"
    expected: dict[str, tuple[int, ...]] = {
        "embedding.weight": (148, 512),
        "decoder.prenet.layers.0.linear_layer.weight": (256, 80),
        "decoder.prenet.layers.1.linear_layer.weight": (256, 256),
        f"{place}.query_layer.linear_layer.weight": (128, 1024),
        f"{place}.memory_layer.linear_layer.weight": (128, 512),
        f"{place}.v.linear_layer.weight": (1, 128),
        f"{place}.location_layer.location_conv.conv.weight": (32, 2, 31),
        f"{place}.location_layer.location_dense.linear_layer.weight": (128, 32),
        "decoder.linear_projection.linear_layer.weight": (80, 1536),
        "decoder.linear_projection.linear_layer.bias": (80,),
        "decoder.gate_layer.linear_layer.weight": (1, 1536),
        "decoder.gate_layer.linear_layer.bias": (1,),
    }
    for name, (rows, inputs, hidden) in lstms.items():
        expected |= {name.format("weight_ih"): (rows, inputs), name.format("weight_hh"): (rows, hidden)}
        expected |= {name.format("bias_ih"): (rows,), name.format("bias_hh"): (rows,)}
    for name, shape in convolutions.items():
        expected |= {f"{name}.0.conv.weight": shape, f"{name}.0.conv.bias": shape[:1]}
        expected |= {f"{name}.1.{what}": shape[:1] for what in ("weight", "bias", "running_mean", "running_var")}
        expected |= {f"{name}.1.num_batches_tracked": ()}
    with torch.device("meta"):
        state = Tacotron2(Network(), 148, 80).state_dict()
    assert {nvidia.nvidia_name(name): tuple(value.shape) for name, value in state.items()} == expected | {None: ()}
    learnt = {name: value.numel() for name, value in state.items() if not name.startswith("mel_") and "running" not in name}
    assert sum(size for name, size in learnt.items() if "num_batches" not in name) == 28_193_153


def assert_same_network(one: Tacotron2, other: Tacotron2) -> None:
    assert other.network == one.network
    expected = one.state_dict()
    assert other.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())
    assert {type(value) for value in other.parameters()} == {nn.Parameter}


def test_a_network_saved_and_loaded_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    network = build()
    network.postnet.convolutions[0].norm.num_batches_tracked.fill_(7)
    assert_same_network(network, nvidia.load(nvidia.save(network, tmp_path / "x.pt")))
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


CONTAINERS = {
    "plain": lambda w: w,
    "module.": lambda w: {"state_dict": {f"module.{name}": value for name, value in w.items()}, "epoch": 3, "config": {}},
    "a schedule of NumPy": lambda w: {"state_dict": w, "iteration": np.int64(5_000), "learning_rate": np.float64(1e-3)},
    "torchaudio": lambda w: {name.replace(".linear_layer", "").replace(".conv.", "."): value for name, value in w.items()},
    "before PyTorch 0.4.1": lambda w: {name: value for name, value in w.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_checkpoint_is_read_however_it_is_packed(kind: str, tmp_path: Path) -> None:
    network = build()
    packed = CONTAINERS[kind](saved(network, tmp_path))
    assert_same_network(network, nvidia.load(packed))
    torch.save(packed, tmp_path / "packed.pt", _use_new_zipfile_serialization=False)  # as files of 2018 are
    assert_same_network(network, nvidia.load(tmp_path / "packed.pt"))


def test_loaded_weights_are_copies_in_single_precision(tmp_path: Path) -> None:
    weights = saved(build(), tmp_path)
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    assert {value.dtype for value in nvidia.load(half).parameters()} == {torch.float32}
    before = weights["embedding.weight"].clone()
    with torch.no_grad():
        nvidia.load(weights).encoder.embedding.weight.zero_()
    assert torch.equal(weights["embedding.weight"], before)


def without(weights: dict[str, Any], name: str) -> dict[str, Any]:
    return {known: value for known, value in weights.items() if known != name}


V, PRENET = "decoder.attention_layer.v.linear_layer", "decoder.prenet.layers.0.linear_layer"
FOREIGN = {
    "a key is missing": (lambda w: without(w, f"{V}.weight"), f"without {V}.weight"),
    "a key that shows a size": (lambda w: without(w, "embedding.weight"), "embedding.weight of 2 dimensions"),
    "a key too many": (lambda w: w | {f"{V}.bias": torch.zeros(1)}, f"with {V}.bias"),
    "another shape": (lambda w: w | {f"{V}.weight": torch.zeros(1, 9)}, f"{V}.weight of (1, 9) for (1, 5)"),
    "two frames a step": (lambda w: w | {f"{PRENET}.weight": torch.zeros(6, 16)}, f"{PRENET}.weight of (6, 16) for (6, 8)"),
    "an even kernel": (
        lambda w: w | {"encoder.convolutions.0.0.conv.weight": torch.zeros(12, 12, 4)}, "need an odd encoder_kernel"
    ),
    "no tensor": (lambda w: w | {f"{V}.weight": [0.0]}, f"with {V}.weight"),
    "coqui": (lambda w: {"config": {}, "model": {"embedding.weight": torch.zeros(3, 4)}, "step": 1}, "got config, model, step"),
    "ESPnet": (lambda w: {f"tts.enc.{i}.weight": torch.zeros(3, 4) for i in range(9)}, "tts.enc.0.weight, tts.enc.1.weight"),
    "a trial's own": (lambda w: {"weights": w, "kframes": 3.0}, "got weights, kframes"),
    "nothing": (lambda w: {}, "got nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_any_other_checkpoint_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    change, reason = FOREIGN[case]
    changed = change(saved(build(), tmp_path))
    with pytest.raises(ValueError, match=r"need .*NVIDIA's Tacotron 2, .*: choose another") as caught:
        nvidia.load(changed)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400
    torch.save(changed, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: need"):
        nvidia.load(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 torn", b"\x80\x02U\x01", b"0\n."])
def test_a_file_of_another_kind_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt: need a checkpoint of tensors and plain values"):
        nvidia.load(tmp_path / "x.pt")


def test_a_value_that_is_not_plain_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": argparse.Namespace(rate=1)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"got argparse\.Namespace: save its state_dict alone"):
        nvidia.load(tmp_path / "x.pt")


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"embedding.weight": print}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="need a checkpoint of tensors and plain values"):
        nvidia.load(tmp_path / "x.pt")
    torch.save([torch.zeros(3)], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="need a checkpoint, got a list"):
        nvidia.load(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("network", "std", "reason"),
    [
        (tiny_network(embedding=12, reduction=2), 1.0, "network.reduction 1, got 2"),
        (tiny_network(embedding=12), 2.5, "network.standardise false, got mels in units of mean 0 and deviation 2.5"),
        (tiny_network(), 1.0, "equal embedding and encoder, got 10 and 12"),
    ],
)
def test_a_network_that_nvidias_code_cannot_compute_is_not_written(
    network: Network, std: float, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "x.pt").write_bytes(b"old")
    with pytest.raises(ValueError, match=reason):
        nvidia.save(Tacotron2(network, SYMBOLS, BANDS, 0.0, std), tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == b"old"


def test_raw_log_mels_are_scored_in_units_of_the_corpus() -> None:
    """Two networks that always output the mean mel, each in its own units, have equal errors of about 1."""
    plain = toy_speech()
    frames = np.concatenate([example.mel for example in plain.train])
    mean, deviation = -5.0, 2.0 * float(frames.std())
    train, validation = (
        [Example(each.ids, each.mel * 2 + mean - 2 * frames.mean()) for each in part]
        for part in (plain.train, plain.validation)
    )
    loud = Speech(train, validation, ALPHABET, mean, deviation)
    errors = []
    for standardise in (True, False):
        config = tiny_config(standardise=standardise)
        trainer = Trainer(config, loud, 1, 1, torch.device("cpu"), seed=5)
        with torch.no_grad():
            for weight in (*trainer.network.projection.parameters(), *trainer.network.postnet.parameters()):
                weight.zero_()
            trainer.network.projection.bias.fill_(0.0 if standardise else mean)
        errors.append(trainer.validate()[0].mel_after)
        assert float(trainer.network.mel_std) == pytest.approx(deviation if standardise else 1.0)
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    assert errors[0] == pytest.approx(1.0, rel=0.3)


@pytest.mark.skipif(CHECKOUT is None, reason="TACOTUNE_NVIDIA names no checkout of NVIDIA/tacotron2")
def test_outputs_are_those_of_nvidias_own_code(tmp_path: Path) -> None:
    """The networks have full size and share the prenet's masks. NVIDIA's code loads our file, and ours loads its weights."""
    from benchmarks.peers import nvidia as peer  # needs the checkout

    network = build(Network(standardise=False), 148, 80)
    example, masks = utterance(80, 148)
    config = Config(audio=Audio(mel_bands=80), network=network.network)
    theirs = peer(Path(CHECKOUT or ""), config, 148, torch.device("cpu")).eval()
    theirs.load_state_dict(saved(network, tmp_path))
    theirs.decoder.prenet.forward = shared(theirs.decoder.prenet.layers, masks)
    lengths = torch.tensor([len(example.ids)]), torch.tensor([len(example.mel)])
    mels = torch.from_numpy(example.mel).T[None]
    with torch.no_grad():
        before, after, gate, alignment = theirs((torch.tensor([example.ids]), lengths[0], mels, int(lengths[0]), lengths[1]))
    assert_equal(ours(network, example, masks), (before[0].T, after[0].T, gate[0], alignment[0]))
    assert_same_network(network, nvidia.load(theirs.state_dict()))
