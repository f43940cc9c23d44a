"""Run other trainers of the same network for comparison: NVIDIA's from a checkout, torchaudio's if it is installed.

A peer trains like its own train.py: with its network, its loss, Adam, clipping at 1.0, and the loss read back in every step.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from model.config import Config
from model.data.loading import Example

NVIDIA_MODULES = ("model", "layers", "utils", "stft", "audio_processing", "loss_function", "text", "hparams")


class Peer(Protocol):
    """A trainer: a call with a batch of examples is one update."""

    def __call__(self, examples: Sequence[Example]) -> None: ...


class PeerError(ValueError):
    """The peer cannot be run here."""


def peer(spec: str, config: Config, symbols: int, device: torch.device) -> tuple[str, Peer]:
    """Return the name and the trainer of `nvidia=DIR` or `torchaudio`, in the sizes of `config`. Raises PeerError."""
    name, _, place = spec.partition("=")
    if name == "nvidia" and place:
        return name, _Trained(nvidia(Path(place), config, symbols, device), device, _nvidia_loss)
    if name == "torchaudio" and not place:
        return name, _Trained(_torchaudio(config, symbols).to(device), device, _torchaudio_loss)
    raise PeerError(f"need a peer nvidia=DIR (a checkout of NVIDIA/tacotron2) or torchaudio, got {spec!r}")


class _Trained:
    def __init__(self, network: nn.Module, device: torch.device, loss: Callable[[nn.Module, "Padded"], Tensor]) -> None:
        self.network, self.device, self.loss = network.train(), device, loss
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-6)

    def __call__(self, examples: Sequence[Example]) -> None:
        self.network.zero_grad()
        loss = self.loss(self.network, Padded(examples, self.device))
        loss.item()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()


class Padded:
    """A batch in the form of these trainers: the longest text first, mels (B, M, F), a gate of 1 from the last frame on."""

    def __init__(self, examples: Sequence[Example], device: torch.device) -> None:
        examples = sorted(examples, key=lambda example: -len(example.ids))
        symbols = torch.tensor([len(example.ids) for example in examples])
        frames = torch.tensor([len(example.mel) for example in examples])
        ids = torch.zeros(len(examples), int(symbols.max()), dtype=torch.int64)
        mels = torch.zeros(len(examples), examples[0].mel.shape[1], int(frames.max()))
        gate = torch.zeros(len(examples), int(frames.max()))
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
            mels[row, :, : len(example.mel)] = torch.from_numpy(np.array(example.mel)).T
            gate[row, len(example.mel) - 1 :] = 1
        self.ids, self.symbols, self.mels, self.gate, self.frames = (
            tensor.to(device) for tensor in (ids, symbols, mels, gate, frames)
        )


def nvidia(checkout: Path, config: Config, symbols: int, device: torch.device) -> nn.Module:
    """Build NVIDIA's own network. Only the modules that the network needs are loaded, without those that use TensorFlow."""
    if not (checkout / "model.py").is_file():
        raise PeerError(f"need a checkout of NVIDIA/tacotron2, found no model.py in {checkout}")
    network = config.network
    values = {
        "mask_padding": True,
        "fp16_run": False,
        "n_mel_channels": config.audio.mel_bands,
        "n_frames_per_step": 1,
        "n_symbols": symbols,
        "symbols_embedding_dim": network.embedding,
        "encoder_embedding_dim": network.encoder,
        "encoder_n_convolutions": network.encoder_convolutions,
        "encoder_kernel_size": network.encoder_kernel,
        "attention_rnn_dim": network.attention_rnn,
        "decoder_rnn_dim": network.decoder_rnn,
        "prenet_dim": network.prenet,
        "max_decoder_steps": 1000,
        "gate_threshold": 0.5,
        "p_attention_dropout": network.attention_dropout,
        "p_decoder_dropout": network.decoder_dropout,
        "attention_dim": network.attention,
        "attention_location_n_filters": network.location_filters,
        "attention_location_kernel_size": network.location_kernel,
        "postnet_embedding_dim": network.postnet,
        "postnet_kernel_size": network.postnet_kernel,
        "postnet_n_convolutions": network.postnet_convolutions,
    }
    with _modules_of(checkout):
        module = importlib.import_module("model")
    if device.type == "cpu":  # its masks are made on a GPU on every device
        module.get_mask_from_lengths = _mask  # type: ignore[attr-defined]
    built: nn.Module = module.Tacotron2(SimpleNamespace(**values)).to(device)
    return built


@contextmanager
def _modules_of(checkout: Path) -> Iterator[None]:
    """Make the checkout's modules importable for a moment: they have the same names as ours."""
    ours = {name: found for name, found in sys.modules.items() if name.partition(".")[0] in NVIDIA_MODULES}
    stand_ins = {}
    for library in ("librosa", "librosa.filters", "librosa.util", "scipy", "scipy.signal", "scipy.io", "scipy.io.wavfile"):
        if library not in sys.modules:
            stand_ins[library] = ModuleType(library)
    for name in ours:
        del sys.modules[name]
    sys.modules.update(stand_ins)
    if "librosa.filters" in stand_ins:
        stand_ins["librosa.filters"].mel = None  # type: ignore[attr-defined]
        stand_ins["librosa.util"].pad_center = stand_ins["librosa.util"].tiny = None  # type: ignore[attr-defined]
    if "scipy.signal" in stand_ins:
        stand_ins["scipy.signal"].get_window = None  # type: ignore[attr-defined]
    if "scipy.io.wavfile" in stand_ins:
        stand_ins["scipy.io.wavfile"].read = None  # type: ignore[attr-defined]
    sys.path.insert(0, str(checkout))
    try:
        yield
    finally:
        sys.path.remove(str(checkout))
        for name in [name for name in sys.modules if name.partition(".")[0] in NVIDIA_MODULES]:
            del sys.modules[name]
        for name in stand_ins:
            del sys.modules[name]
        sys.modules.update(ours)


def _mask(lengths: Tensor) -> Tensor:
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


def _published(outputs: Sequence[Tensor], padded: Padded) -> Tensor:
    before, after, gate = outputs[:3]
    mel = nn.functional.mse_loss(before, padded.mels) + nn.functional.mse_loss(after, padded.mels)
    return mel + nn.functional.binary_cross_entropy_with_logits(gate, padded.gate)


def _nvidia_loss(network: nn.Module, padded: Padded) -> Tensor:
    longest = int(padded.symbols.max())
    return _published(network((padded.ids, padded.symbols, padded.mels, longest, padded.frames)), padded)


def _torchaudio_loss(network: nn.Module, padded: Padded) -> Tensor:
    return _published(network(padded.ids, padded.symbols, padded.mels, padded.frames), padded)


def _torchaudio(config: Config, symbols: int) -> nn.Module:
    try:
        from torchaudio.models import Tacotron2  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except (ImportError, OSError) as why:
        raise PeerError(f"need torchaudio for the peer torchaudio, got {why}: install the build that fits torch") from why
    network = config.network
    values: dict[str, Any] = {
        "mask_padding": True,
        "n_mels": config.audio.mel_bands,
        "n_symbol": symbols,
        "symbol_embedding_dim": network.embedding,
        "encoder_embedding_dim": network.encoder,
        "encoder_n_convolution": network.encoder_convolutions,
        "encoder_kernel_size": network.encoder_kernel,
        "decoder_rnn_dim": network.decoder_rnn,
        "prenet_dim": network.prenet,
        "attention_rnn_dim": network.attention_rnn,
        "attention_hidden_dim": network.attention,
        "attention_location_n_filter": network.location_filters,
        "attention_location_kernel_size": network.location_kernel,
        "postnet_embedding_dim": network.postnet,
        "postnet_kernel_size": network.postnet_kernel,
        "postnet_n_convolution": network.postnet_convolutions,
    }
    built: nn.Module = Tacotron2(**values)
    return built
