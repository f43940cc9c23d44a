"""The input of a network belongs to its voice, its settings and the identity of its study."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from model.tacotron2 import Tacotron2
from model.text.languages import find_language
from model.voice import FORMAT, Voice
from objective.search.migrate import differences
from objective.settings.resolve import resolve
from objective.settings.schema import SettingsError
from search_spaces.space import load
from tests.conftest import BANDS, tiny_config


def test_a_voice_reads_as_it_was_trained(tmp_path: Path) -> None:
    config, language = tiny_config(), find_language("ru", "phonemes")
    network = Tacotron2(config.network, len(language.symbols), BANDS).eval()
    about = {"format": FORMAT, "config": asdict(config), "language": "ru", "symbols": list(language.symbols)}
    own = Voice(network, config, language, about | {"input": "phonemes", "stress": "none"})
    loaded = Voice.load(own.save(tmp_path / "voice.pt"))
    assert (loaded.language.input, loaded.language.symbols) == ("phonemes", language.symbols)
    said = loaded.speak("Старый з+амок.", tries=1)[0]
    assert torch.equal(torch.tensor(said), torch.tensor(own.speak("Старый з+амок.", tries=1)[0]))


def test_a_study_without_the_key_is_one_of_letters() -> None:
    settings = resolve(None, [], {"profile": "demo"}, gpu=False)
    space = load("demo", settings.config())
    old = {"space": space.fingerprint()}
    assert differences(old, old | {"data.input": "letters", "data.stress": "none"}, space) == ([], [])
    found = differences(old, old | {"data.input": "phonemes", "data.stress": "none"}, space)
    assert found == ([], ["data.input was letters, it is now phonemes"])


def test_stress_is_for_russian() -> None:
    assert resolve(None, ["data.stress=silero", "data.language=ru"], {}, gpu=False).data.spoken().stress == "silero"
    with pytest.raises(SettingsError, match="stress=silero is for language=ru, got language=en"):
        resolve(None, ["data.stress=silero"], {}, gpu=False)
