"""The mels for a vocoder are what the voice predicts frame by frame for each recording, beside sounds that fit them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from model.audio import log_mel
from model.config import Audio
from model.data.loading import Example
from model.data.mels import open_mel
from model.errors import BadInput
from model.synthesis import synthesise
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.voice import Voice
from objective import export
from objective.speech.export_mels import forced, names
from tests.conftest import BANDS, SYMBOLS, tiny_config, tiny_network, toy_examples
from tests.model.corpora import UTTERANCES, Draft, tone


@pytest.mark.parametrize("reduction", [1, 3])
def test_a_network_that_hears_what_it_said_itself_says_the_same(reduction: int) -> None:
    """So teacher forcing has the masks of synthesis, in the same order."""
    torch.manual_seed(0)
    network = Tacotron2(tiny_network(reduction=reduction), SYMBOLS, BANDS, -5.0, 2.0).eval()
    last = network.postnet.convolutions[-1].norm
    for values in (last.weight, last.bias):
        torch.nn.init.zeros_(values)  # a postnet that corrects nothing: the mel is what the decoder hears
    torch.nn.init.constant_(network.gate.bias, -9.0)  # which does not stop at once
    ids = (3, 1, 4, 1, 5, 9)
    mel = synthesise(network, torch.tensor([ids]), torch.tensor([len(ids)])).mel[0].numpy()
    (again,) = forced(network, [Example(ids, mel)])
    np.testing.assert_allclose(again, mel, atol=1e-4)


def test_neither_the_batch_nor_the_random_state_changes_a_mel() -> None:
    network = Tacotron2(tiny_network(reduction=2), SYMBOLS, BANDS)
    examples = toy_examples(4, seed=3)
    together = forced(network, examples)
    for example, mel in zip(examples, together, strict=True):
        assert mel.shape == example.mel.shape
        np.testing.assert_allclose(forced(network, [example])[0], mel, atol=1e-5)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """Tones with silence at their ends, so that trimming cuts something."""
    recordings = tmp_path / "recordings"
    (recordings / "wavs").mkdir(parents=True)
    for number in range(UTTERANCES):
        soundfile.write(recordings / f"wavs/a-{number:02}.wav", tone(0.5 + 0.01 * number, 200 + 9 * number), 22_050)
    draft = Draft(tmp_path / "corpus", recordings)
    draft.silence(0.3, lambda number: 0.2 + 0.01 * number)
    return draft


def voice_file(folder: Path, **about: object) -> Path:
    config, language = replace(tiny_config(reduction=2, recurrence="cuda"), audio=Audio()), find_language("en")
    torch.manual_seed(0)
    network = Tacotron2(config.network, len(language.symbols), config.audio.mel_bands, -5.0, 2.0)
    known = {"config": asdict(config), "language": "en", "symbols": list(language.symbols), **about}
    return Voice(network, config, language, known).save(folder / "voice.pt")


@pytest.mark.parametrize("margin_s", [0.1, None])
def test_mels_sounds_and_lists_belong_together(draft: Draft, tmp_path: Path, margin_s: float | None) -> None:
    corpus = draft.load(trim_margin_s=margin_s)
    data = {"trim": margin_s is not None, "validation_utterances": 3}
    voice, to, audio = voice_file(tmp_path, data=data), tmp_path / "mels", Audio()
    line = [
        "--mels",
        str(to),
        "--voice",
        str(voice),
        "--data",
        str(draft.folder),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    assert export.main(line) == 0
    for name, part in (("train", corpus.train), ("validation", corpus.validation)):
        rows = [row.split("|") for row in (to / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
        assert rows == [[utterance.id.rpartition("/")[2], utterance.text] for utterance in part]
        for (stem, _), utterance in zip(rows, part, strict=True):
            mel, recorded = np.load(to / f"{stem}.npy"), open_mel(utterance.sound)
            assert (mel.shape, mel.dtype) == (recorded.T.shape, np.float32)
            wave, rate_hz = soundfile.read(to / "wavs" / f"{stem}.wav", dtype="float32")
            assert (len(wave), rate_hz) == (mel.shape[1] * audio.hop_samples, audio.rate_hz)
            heard = log_mel(wave[audio.hop_samples // 2 :], audio)  # our frames: HiFi-GAN's have their middle half a hop later
            sounding = recorded[4:-4] > -4  # not the noise of 16 bits, nor the windows that reach over an end
            assert sounding.any()
            assert np.abs(heard[4 : len(recorded) - 4] - recorded[4:-4])[sounding].max() < 0.02


def test_what_is_there_is_kept_and_another_voice_is_refused(
    draft: Draft, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft.load()
    voice, to = voice_file(tmp_path), tmp_path / "mels"
    line = ["--mels", str(to), "--data", str(draft.folder), "--device", "cpu", "--out", str(tmp_path / "out"), "--voice"]
    assert export.main([*line, str(voice)]) == 0
    first, second = sorted(to.glob("*.npy"))[:2]
    expected = second.read_bytes()
    first.write_bytes(b"kept")
    second.unlink()
    assert export.main([*line, str(voice)]) == 0
    assert first.read_bytes() == b"kept"
    assert np.abs(np.load(second) - np.load(_bytes(tmp_path, expected))).max() < 1e-5
    assert f"{UTTERANCES - 1} of them already there" in capsys.readouterr().out
    values = torch.load(voice, weights_only=True)
    values["weights"]["gate.bias"] += 1
    torch.save(values, tmp_path / "other.pt")
    assert export.main([*line, str(tmp_path / "other.pt")]) == 2
    assert "holds the mels of another voice" in capsys.readouterr().err
    assert json.loads((to / "origin.json").read_text())["audio"]["hop_samples"] == 256


def _bytes(folder: Path, content: bytes) -> Path:
    (folder / "expected.npy").write_bytes(content)
    return folder / "expected.npy"


def test_a_voice_of_own_recordings_needs_their_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--mels", str(tmp_path / "mels"), "--voice", str(voice_file(tmp_path, data={"trim": False}))]) == 2
    assert "give --data PATH" in capsys.readouterr().err
    assert not (tmp_path / "mels").exists()


def test_recordings_of_one_name_in_several_folders_get_names_of_their_own() -> None:
    assert names(["a/1", "a/2"]) == {"a/1": "1", "a/2": "2"}
    assert names(["a/1", "b/1"]) == {"a/1": "a_1", "b/1": "b_1"}
    with pytest.raises(BadInput, match=r"two would be a_1\.npy"):
        names(["a/1", "a_1", "b/1"])
