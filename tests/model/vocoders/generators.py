"""Published and tiny generators of HiFi-GAN, saved in the layout of its authors' code."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.config import Audio
from model.vocoders.hifigan import Generator, Sizes

# Appendix A of the paper; the mels are those of LJSpeech.
_V1 = {
    "num_mels": 80,
    "resblock": "1",
    "upsample_initial_channel": 512,
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}
_V3 = {
    "resblock": "2",
    "upsample_initial_channel": 256,
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
}
PUBLISHED: dict[str, dict[str, Any]] = {"V1": _V1, "V2": {**_V1, "upsample_initial_channel": 128}, "V3": {**_V1, **_V3}}

AUDIO = Audio(rate_hz=4_000, fft_samples=64, hop_samples=16, window_samples=64, mel_bands=6, fmax_hz=1_500)


def settings(audio: Audio = AUDIO, **changes: Any) -> dict[str, Any]:
    """Return the content of a config.json for a tiny generator of `audio`'s mels. All its sizes differ."""
    tiny = {
        "resblock": "1",
        "upsample_initial_channel": 12,
        "upsample_rates": [8, 2],
        "upsample_kernel_sizes": [16, 4],
        "resblock_kernel_sizes": [3, 7, 5],
        "resblock_dilation_sizes": [[1, 2], [2, 3], [3, 1]],
    }
    mels = {
        "sampling_rate": audio.rate_hz,
        "hop_size": audio.hop_samples,
        "n_fft": audio.fft_samples,
        "win_size": audio.window_samples,
        "num_mels": audio.mel_bands,
        "fmin": int(audio.fmin_hz),
        "fmax": int(audio.fmax_hz),
        "fmax_for_loss": None,
        "num_freq": 1025,
        "segment_size": 8192,
    }
    return tiny | mels | changes


def drawn(config: dict[str, Any]) -> Generator:
    """Return a generator whose random weights make each layer change the signal a lot."""
    torch.manual_seed(0)
    generator = Generator(Sizes.of(config))
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return generator.eval().requires_grad_(False)


def saved(folder: Path, config: dict[str, Any], content: object, name: str = "g_00000001") -> Path:
    """Write a checkpoint and its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / name)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder / name


def scripted(network: nn.Module, path: Path) -> Path:
    """Write a TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(str(path))
    return path


class Clicks(nn.Module):
    """A vocoder that says a click for each frame, as strong as the frame, at sample `first` + i * `hop`."""

    def __init__(self, hop: int, first: int, shorter: int) -> None:
        super().__init__()
        self.hop, self.first, self.shorter = hop, first, shorter

    def forward(self, mel: Tensor) -> Tensor:
        """Map (1, M, F) to (1, 1, F * hop - shorter)."""
        wave = torch.zeros(1, 1, mel.shape[2] * self.hop - self.shorter)
        clicks = wave[:, :, self.first :: self.hop]
        clicks.copy_(mel.exp().mean(1, keepdim=True)[:, :, : clicks.shape[2]])
        return wave
