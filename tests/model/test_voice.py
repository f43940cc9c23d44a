"""A voice file says the same wherever it is loaded, in every form that trials and others have left, and tells its faults."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml

from model import checkpoints, nvidia
from model.config import Config
from model.errors import BadInput
from model.synthesis import SYNTHESIS_SEED
from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.voice import FORMAT, Utterance, Voice, configuration
from tests.conftest import BANDS, tiny_config, tiny_network

ENGLISH = find_language("en")
TEXT = "The first sentence is here. The second one is longer, and not the last."


def voice(config: Config | None = None, **about: Any) -> Voice:
    """Return an untrained voice."""
    config = config or tiny_config()
    torch.manual_seed(0)
    network = Tacotron2(config.network, len(ENGLISH.symbols), BANDS).eval()
    about = {"format": FORMAT, "config": asdict(config), "language": "en", "symbols": list(ENGLISH.symbols), **about}
    return Voice(network, config, ENGLISH, about)


def test_a_loaded_voice_says_the_same_bit_for_bit(tmp_path: Path) -> None:
    own = voice(corpus={"longest": 40, "ending": ".", "pause_s": 0.3}, licence="CC0", trial=3)
    loaded = Voice.load(own.save(tmp_path / "voice.pt"))
    assert loaded.about == own.about
    wave, rate_hz = own.speak(TEXT, tries=1)
    assert rate_hz == 22_050
    np.testing.assert_array_equal(loaded.speak(TEXT, tries=1)[0], wave)
    assert np.abs(wave).max() <= 1


def test_a_text_is_said_in_pieces_no_longer_than_its_recordings() -> None:
    said = list(voice(corpus={"longest": 30}).utterances(TEXT, tries=1))
    assert [utterance.text for utterance in said] == [
        "The first sentence is here.",
        "The second one is longer,",
        "and not the last.",
    ]
    assert [utterance.pause_s > 0 for utterance in said] == [True, True, False]


class Faulty(Voice):
    """Has fewer faults with each seed, down to a `floor`."""

    asked: ClassVar[list[int]] = []
    floor: ClassVar[int] = 0

    def _say(self, batch: Any, threshold: float, window: int | None, seed: int) -> list[Utterance]:
        self.asked.append(seed)
        faults: Any = ("endless", "cut", "stuck")[: max(self.floor, 3 - len(self.asked))]
        return [replace(said, faults=faults) for said in super()._say(batch, threshold, window, seed)]


@pytest.mark.parametrize(("floor", "tries"), [(0, 3), (1, 5), (3, 5)])
def test_a_sentence_with_a_fault_is_said_again_with_another_seed(
    monkeypatch: pytest.MonkeyPatch, floor: int, tries: int
) -> None:
    monkeypatch.setattr(Faulty, "floor", floor)
    monkeypatch.setattr(Faulty, "asked", [])
    own = voice()
    (said,) = Faulty(own.network, own.config, own.language, own.about).utterances("Only one.", tries=5)
    assert Faulty.asked == [SYNTHESIS_SEED + count for count in range(tries)]
    assert (len(said.faults), said.tries) == (floor, tries)


def test_speech_that_is_not_finite_is_refused() -> None:
    own = voice()
    torch.nn.init.constant_(own.network.projection.bias, torch.nan)
    with pytest.raises(BadInput, match="need a voice whose speech is finite"):
        list(own.utterances("Only one."))


def test_pieces_said_in_one_batch_sound_as_they_do_alone() -> None:
    own = voice(corpus={"longest": 30})
    batch = own.pieces(TEXT)
    together = own.say_batch(batch, tries=2)
    assert len(together) == len(batch) == 3
    for piece, said in zip(batch, together, strict=True):
        (alone,) = own.say_batch([piece], tries=2)
        assert (said.text, said.faults, said.tries, said.mel.shape) == (piece.text, alone.faults, alone.tries, alone.mel.shape)
        np.testing.assert_allclose(said.mel, alone.mel, atol=1e-4)


def test_only_those_with_a_fault_are_said_again() -> None:
    sizes: list[int] = []

    class Once(Voice):
        """The first piece of the first try has a fault."""

        def _say(self, batch: Any, threshold: float, window: int | None, seed: int) -> list[Utterance]:
            sizes.append(len(batch))
            first, *rest = (replace(said, faults=()) for said in super()._say(batch, threshold, window, seed))
            return [replace(first, faults=("cut",) if len(sizes) == 1 else ()), *rest]

    own = voice(corpus={"longest": 30})
    said = Once(own.network, own.config, own.language, own.about).say_batch(own.pieces(TEXT), tries=5)
    assert sizes == [3, 1]
    assert [utterance.tries for utterance in said] == [2, 1, 1]


def test_what_has_no_symbol_is_told_and_nothing_to_say_is_refused() -> None:
    (said,) = voice().utterances("A word, 漢字 and more.", tries=1)
    assert said.dropped == "漢字"
    for nothing in ("", " \n ", "漢字"):
        with pytest.raises(BadInput, match="need a text with something to say"):
            list(voice().utterances(nothing))


def test_weights_of_an_older_version_need_their_configuration_next_to_them(tmp_path: Path) -> None:
    own = voice()
    path = checkpoints.save(tmp_path / "best.pt", {"weights": own.network.state_dict(), "symbols": list(ENGLISH.symbols)})
    with pytest.raises(BadInput, match=r"config\.yaml"):
        Voice.load(path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"trial": 1, "language": "en", **asdict(own.config)}))
    np.testing.assert_array_equal(Voice.load(path).speak("Only one.", tries=1)[0], own.speak("Only one.", tries=1)[0])


def test_nvidias_checkpoint_is_an_english_voice(tmp_path: Path) -> None:
    network = tiny_network(embedding=12, standardise=False)
    own = voice(replace(tiny_config(), network=network))
    loaded = Voice.load(nvidia.save(own.network, tmp_path / "nvidia.pt"))
    assert loaded.language.code == "en"
    assert Voice.load(loaded.save(tmp_path / "voice.pt")).about == loaded.about
    (said,), (expected,) = (list(one.utterances("Only one.", tries=1)) for one in (loaded, own))
    np.testing.assert_allclose(said.mel, expected.mel, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"language": "xx"}, "need one of en, ru"),
        ({"symbols": ["_", "a"]}, "size mismatch"),
        ({"config": {"network": {"wheels": 4}}}, "unknown settings wheels: a newer version wrote it"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = checkpoints.save(tmp_path / "voice.pt", voice().values() | change)
    with pytest.raises(BadInput) as caught:
        Voice.load(path)
    assert str(path) in str(caught.value)
    if sentence != "size mismatch":
        assert sentence in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no voice", b"PK\x03\x04 broken"])
def test_another_file_is_no_voice(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"need voice\.pt, best.pt of a trial"):
        Voice.load(path)


def test_settings_that_an_older_version_did_not_have_take_their_defaults() -> None:
    values = asdict(tiny_config())
    del values["training"]["average"]
    assert configuration(values) == tiny_config()
