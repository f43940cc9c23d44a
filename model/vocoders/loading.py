"""Load a vocoder by its name or file, and put what it says onto the times of the recording.

F frames, M mel bands, S samples. Our frame i is centred at sample i * hop. HiFi-GAN's analysis pads (n_fft - hop) / 2 samples
at both ends and centres nothing, so its frame i is centred at (i + 1/2) * hop. Given our mel, such a vocoder says everything
half a hop late, in F * hop samples; our centres span (F - 1) * hop. So half a hop is cut off at the start, and half a hop at
the end. A vocoder that gives (F - 1) * hop samples centres its frames as we do, and nothing is cut.
"""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from re import fullmatch

import numpy as np
import torch
from torch import Tensor

from model.audio import LOUDEST, Floats, griffin_lim
from model.config import Audio
from model.errors import BadInput
from model.loudness import normalised
from model.vocoders.checkpoint import load_generator, read_config, require_mels_of

Vocoder = Callable[[Floats], Floats]  # log-mel (F, M) -> wave (S,)
Network = Callable[[Tensor], Tensor]  # log-mel (1, M, F) -> wave (1, 1, samples) or (1, samples)

GRIFFIN_LIM = "griffin-lim"
HEADROOM = 3.0  # natural log: mels are lowered by it before Griffin-Lim, whose waves would clip otherwise
SHORTEST = 16  # frames: shorter mels get silence behind them, since some networks cannot pad so few


def load_vocoder(source: str | Path, audio: Audio, device: str | torch.device = "cpu") -> Vocoder:
    """Return a function that turns natural-log mels (F, M) into waves (S,), both float32 arrays of NumPy.

    S = hop_samples * max(1, F - 1), and sample i * hop belongs to frame i. Waves lie in [-1, 1] and have the loudness of a
    trial's samples (model/loudness.py). `source` is "griffin-lim", which makes those samples; a HiFi-GAN generator's file with
    its config.json, or their folder; or a TorchScript file, (1, M, F) -> (1, 1, samples) or (1, samples). A TorchScript file
    runs its own graph and no Python, any other file runs nothing. Raises BadInput for anything that is no vocoder for mels of
    `audio`; the function raises ValueError for an array that is no mel.
    """
    if source == GRIFFIN_LIM:
        return lambda mel: normalised(griffin_lim(mel - HEADROOM, audio), audio.rate_hz)
    file = _file(Path(source))
    try:
        network = (_load_torchscript if _is_torchscript(file) else load_generator)(file, audio).to(device)
        late = _samples_late(network, audio, device)
    except ValueError as why:
        raise BadInput(f"{file}: {str(why).removeprefix(f'{file}: ')}") from why
    except OSError as why:  # a checkpoint of another's, or one cut short, for which PyTorch has this error as well
        raise BadInput(f"{file}: need a file that can be read, got: {why.strerror or why}. Copy it again") from why

    def vocoder(mel: Floats) -> Floats:
        if mel.ndim != 2 or mel.shape[0] < 1 or mel.shape[1] != audio.mel_bands or np.isnan(mel).any():
            raise ValueError(f"need a mel of shape (frames >= 1, {audio.mel_bands}) without NaN, got {mel.shape}")
        wave = _run(network, mel, audio, device)[late:][: audio.hop_samples * max(1, len(mel) - 1)]
        return normalised(wave, audio.rate_hz)

    return vocoder


def _file(source: Path) -> Path:
    """Return the generator's file that `source` is or holds: of HiFi-GAN's snapshots g_NUMBER the last one."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise BadInput(f"{source}: need {GRIFFIN_LIM}, or the path of a vocoder, got nothing there: check the name")
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.suffix != ".json"]
    found = [path for path in files if fullmatch(r"g_.*|generator.*|.*\.pth", path.name)]
    snapshots = [path for path in found if fullmatch(r"g_\d+", path.name)]
    if found and found == snapshots:
        return max(snapshots, key=lambda path: int(path.name[2:]))
    if len(found) != 1:
        got = ", ".join(path.name for path in found) or "none"
        raise BadInput(f"{source}: need one generator (g_*, generator* or *.pth) in the folder, got {got}: name the file")
    return found[0]


def _is_torchscript(file: Path) -> bool:
    """Return whether a file has the constants that a TorchScript archive has and a checkpoint does not."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:  # checkpoints of PyTorch before 1.6
        return False


def _load_torchscript(file: Path, audio: Audio) -> torch.jit.ScriptModule:
    """Read a TorchScript file on the CPU. A config.json next to it is optional, but what it says of the mels must fit."""
    require_mels_of(audio, read_config(file) or {})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch advises torch.export, which few vocoders come in
            return torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError as why:
        raise ValueError("need a TorchScript file that this PyTorch can read, got another: export it again") from why


def _samples_late(network: Network, audio: Audio, device: str | torch.device) -> int:
    """Return the samples before the centre of the first frame. Raises ValueError for a network that is no vocoder."""
    hop, lengths = audio.hop_samples, (SHORTEST, 2 * SHORTEST)
    silence = np.full((2 * SHORTEST, audio.mel_bands), np.log(audio.floor), np.float32)
    try:
        samples = [_run(network, silence[:frames], audio, device).size for frames in lengths]
    except (torch.jit.Error, RuntimeError, TypeError, AttributeError) as why:
        reason = str(why).strip().splitlines()[-1]
        raise ValueError(
            f"need a vocoder that maps (1, {audio.mel_bands}, frames) to a wave, got {reason}: export one"
        ) from why
    more = {count - frames * hop for count, frames in zip(samples, lengths, strict=True)}
    if more == {-hop}:
        return 0
    if len(more) == 1 and 0 <= min(more) < hop:
        return hop // 2
    frames = " and ".join(map(str, lengths))
    raise ValueError(
        f"need a vocoder with {hop} samples for a frame, got {samples[0]} and {samples[1]} for {frames} frames: choose another"
    )


def _run(network: Network, mel: Floats, audio: Audio, device: str | torch.device) -> Floats:
    """Return what the network says for a mel (F, M), which is clamped to levels of speech. Raises ValueError if not finite."""
    floor = np.log(audio.floor)
    mel = np.pad(mel, ((0, max(0, SHORTEST - len(mel))), (0, 0)), constant_values=floor)
    batch = torch.from_numpy(mel.clip(floor, LOUDEST).astype(np.float32).T[None].copy()).to(device)
    with torch.inference_mode():
        wave: Floats = network(batch).flatten().float().cpu().numpy()
    if not np.isfinite(wave).all():
        raise ValueError("need a vocoder with finite waves, got one that is not finite: choose another")
    return wave
