"""A vocoder is found by its name or path, gives waves of one length and loudness, or is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.audio import LOUDEST, griffin_lim
from model.config import Audio
from model.errors import BadInput
from model.loudness import LOUDNESS_DB, loudness_db, normalised
from model.vocoders.loading import HEADROOM, load_vocoder
from tests.model.vocoders.generators import AUDIO, drawn, saved, scripted, settings

HOP = AUDIO.hop_samples
CONFIG = settings()
MEL = np.random.default_rng(2).uniform(-9, 1, (30, AUDIO.mel_bands)).astype(np.float32)


class Spoken(nn.Module):
    """A vocoder for 6 bands and 10 frames or more, which says a rising line, in `hop` samples for a frame and `more`."""

    def __init__(self, hop: int = HOP, more: int = 0, dimensions: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        self.hop, self.more, self.dimensions, self.scale = hop, more, dimensions, scale

    def forward(self, mel: Tensor) -> Tensor:
        """Map (1, 6, F) to (1, 1, samples) or (1, samples)."""
        if mel.shape[1] != 6:
            raise ValueError("need 6 bands")
        if mel.shape[2] < 10:
            raise ValueError("too short")
        wave = self.scale * torch.linspace(1, 2, mel.shape[2] * self.hop + self.more)
        return wave[None] if self.dimensions == 2 else wave[None, None]


class Fixed(nn.Module):
    """A vocoder that was exported for one length."""

    def forward(self, mel: Tensor) -> Tensor:
        """Give a second of silence."""
        return mel.new_zeros(1, 1, 16 * 16)


class Idle(nn.Module):
    """A network that maps nothing to nothing."""

    def forward(self) -> int:
        """Return 0."""
        return 0


def test_griffin_lim_is_what_trials_write() -> None:
    wave = load_vocoder("griffin-lim", AUDIO)(MEL)
    expected = normalised(griffin_lim(MEL - HEADROOM, AUDIO), AUDIO.rate_hz)
    assert np.array_equal(wave, expected)
    assert wave.size == HOP * (len(MEL) - 1)


@pytest.mark.parametrize("frames", [1, 2, 5, 15, 16, 40])
def test_every_vocoder_gives_the_samples_between_the_centres(frames: int, tmp_path: Path) -> None:
    hifigan = saved(tmp_path, CONFIG, {"generator": drawn(CONFIG).state_dict()})
    mel = np.resize(MEL, (frames, AUDIO.mel_bands))
    for source in (
        "griffin-lim",
        hifigan,
        scripted(Spoken(), tmp_path / "s.pt"),
        scripted(Spoken(more=-HOP), tmp_path / "c.pt"),
    ):
        wave = load_vocoder(source, AUDIO)(mel)
        assert wave.dtype == np.float32
        assert wave.shape == (HOP * max(1, frames - 1),)
        assert np.abs(wave).max() <= 1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 32_767.0])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_waves_of_any_scale_and_shape_have_the_loudness_of_samples(scale: float, dimensions: int, tmp_path: Path) -> None:
    file = scripted(Spoken(dimensions=dimensions, scale=scale), tmp_path / "vocoder.pt")
    wave = load_vocoder(str(file), AUDIO)(MEL)
    assert loudness_db(wave, AUDIO.rate_hz) == pytest.approx(LOUDNESS_DB, abs=0.01)


def test_mels_are_clamped_to_the_levels_of_speech(tmp_path: Path) -> None:
    vocoder = load_vocoder(saved(tmp_path, CONFIG, drawn(CONFIG).state_dict()), AUDIO)
    loud, quiet = np.log(AUDIO.floor) * (MEL > 0), MEL + 100 * (MEL > 0)
    for mel in (loud, quiet):
        mel = mel.astype(np.float32)
        assert np.array_equal(vocoder(mel * 1.5), vocoder((mel * 1.5).clip(np.log(AUDIO.floor), LOUDEST)))


@pytest.mark.parametrize("mel", [MEL[:, :5], MEL[:0], MEL[0], MEL * np.float32(np.nan)], ids=["bands", "empty", "frame", "nan"])
def test_arrays_that_are_no_mel_are_refused(mel: np.ndarray, tmp_path: Path) -> None:
    vocoder = load_vocoder(scripted(Spoken(), tmp_path / "vocoder.pt"), AUDIO)
    with pytest.raises(ValueError, match="need a mel of shape"):
        vocoder(mel)


def test_a_folder_stands_for_its_generator(tmp_path: Path) -> None:
    expected = load_vocoder(saved(tmp_path, CONFIG, drawn(CONFIG).state_dict(), "generator_v1"), AUDIO)(MEL)
    (tmp_path / "do_00000001").write_bytes(b"the state of the optimisers")
    assert np.array_equal(load_vocoder(tmp_path, AUDIO)(MEL), expected)


def test_the_last_snapshot_of_a_training_is_taken(tmp_path: Path) -> None:
    saved(tmp_path, CONFIG, drawn(CONFIG).state_dict(), "g_99999999")
    for name in ("g_00005000", "g_100000000"):
        saved(tmp_path, CONFIG, {name: 1}, name)
    with pytest.raises(BadInput, match=r"g_100000000: .* with g_100000000"):
        load_vocoder(tmp_path, AUDIO)


@pytest.mark.parametrize("names", [(), ("generator_v1", "generator_v2"), ("g_1", "best.pth"), ("model.bin",)], ids=str)
def test_a_folder_without_a_certain_generator_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        saved(tmp_path, CONFIG, {}, name)
    with pytest.raises(BadInput, match="need one generator .* got " + (".*, .*" if len(names) > 1 else "none")):
        load_vocoder(tmp_path, AUDIO)


@pytest.mark.parametrize("source", ["Griffin-Lim", "missing.pt"])
def test_a_path_of_nothing_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"{source}: need griffin-lim, or the path of a vocoder"):
        load_vocoder(tmp_path / source, AUDIO)


@pytest.mark.parametrize(
    ("network", "rule"),
    [
        (Spoken(hop=24), "16 samples for a frame, got 384 and 768 for 16 and 32 frames"),
        (Spoken(more=HOP), "16 samples for a frame, got 272 and 528"),
        (Spoken(scale=float("inf")), "finite"),
        (Fixed(), "16 samples for a frame, got 256 and 256"),
        (Idle(), r"maps \(1, 6, frames\) to a wave"),
    ],
    ids=["another hop", "a hop more", "infinite", "one length", "no mel"],
)
def test_a_torchscript_file_that_is_no_vocoder_is_refused(network: nn.Module, rule: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"vocoder\.pt: need a vocoder .*{rule}"):
        load_vocoder(scripted(network, tmp_path / "vocoder.pt"), AUDIO)


def test_a_torchscript_file_for_other_bands_is_refused(tmp_path: Path) -> None:
    file = scripted(Spoken(), tmp_path / "vocoder.pt")
    with pytest.raises(BadInput, match=r"maps \(1, 80, frames\) to a wave, got .*need 6 bands"):
        load_vocoder(file, Audio(hop_samples=16))


def test_what_a_config_says_of_a_torchscript_file_must_fit(tmp_path: Path) -> None:
    file = scripted(Spoken(), tmp_path / "vocoder.pt")
    saved(tmp_path, {"sampling_rate": AUDIO.rate_hz}, None)
    assert load_vocoder(file, AUDIO)(MEL).size
    saved(tmp_path, {"sampling_rate": 16_000}, None)
    with pytest.raises(BadInput, match=r"vocoder\.pt: .*sampling_rate is 16000, rate_hz of the voice is 4000"):
        load_vocoder(file, AUDIO)


@pytest.mark.parametrize("kind", ["text", "empty", "cut TorchScript", "cut checkpoint", "another zip"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, CONFIG, drawn(CONFIG).state_dict())
    whole = {
        "text": b"RIFF and so on",
        "empty": b"",
        "cut TorchScript": scripted(Spoken(), tmp_path / "vocoder.pt").read_bytes()[:-99],
        "cut checkpoint": checkpoint.read_bytes()[:-99],
        "another zip": Path(shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path, "config.json")).read_bytes(),
    }
    (tmp_path / "file").write_bytes(whole[kind])
    with pytest.raises(BadInput, match=r"^[^:]*/file: need [^/]*$"):
        load_vocoder(tmp_path / "file", AUDIO)
