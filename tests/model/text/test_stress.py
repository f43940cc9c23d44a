"""Stress marks by silero-stress: they are the only change, and those of the text win."""

import json
import random
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from model.errors import BadInput
from model.text import russian, stress
from model.text.frontend import decode, encode
from model.text.languages import LANGUAGES, find_language

RU = find_language("ru", stress="silero")
installed = pytest.mark.skipif(stress.missing() is not None, reason="needs the package silero-stress")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "_known", {})


@pytest.mark.slow  # loading the library takes up to half a minute
@installed
@pytest.mark.filterwarnings("ignore")
def test_marks_are_the_only_change_whatever_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [russian.clean(line) for line in LANGUAGES["ru"].sentences.read_text("utf-8").splitlines()[:60]]
    texts += ["все ещё тут, елка", "он повесил зам+ок на дверь - старинный замок на горе", "hello, мир! 'да' (нет)", ""]
    first = {text: stress.marked(text) for text in texts}
    assert all(found.replace("+", "") == text.replace("+", "") for text, found in first.items())
    assert sum("+" in found for found in first.values()) > 50
    monkeypatch.setattr(stress, "_known", {})
    random.Random(0).shuffle(texts)
    assert {text: stress.marked(text) for text in texts} == first
    assert stress.marked("старинный з+амок на горе, зам+ок на двери").count("з+амок") == 1


@pytest.mark.slow
@installed
@pytest.mark.filterwarnings("ignore")
def test_a_homograph_is_stressed_by_its_sentence() -> None:
    castle, lock = (encode(text, RU).text for text in ("Старинный замок на горе.", "Он повесил замок на дверь."))
    assert "з+амок" in castle
    assert "зам+ок" in lock
    phonemes = find_language("ru", "phonemes", "silero")
    assert "zˈɑmʌk" in decode(encode("Старинный замок на горе.", phonemes))
    assert "zamˈok" in decode(encode("Он повесил замок на дверь.", phonemes))


def test_a_mark_of_the_text_wins() -> None:
    assert stress._kept("з+амок и дом", "зам+ок и д+ом") == "з+амок и д+ом"


def test_another_text_is_not_taken() -> None:
    assert stress._kept("все тут", "вс+ё тут") == "все тут"


@installed
def test_marks_are_kept_for_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stress.remembered(tmp_path):
        stress._known["вода"] = "вод+а"
    monkeypatch.setattr(stress, "_known", {})
    with stress.remembered(tmp_path):
        assert stress.marked("вода") == "вод+а"
    (file,) = tmp_path.iterdir()
    file.write_text("damaged")
    monkeypatch.setattr(stress, "_known", {})
    with stress.remembered(tmp_path):
        stress._known["вода"] = "вод+а"
    assert json.loads(file.read_text(encoding="utf-8")) == {"вода": "вод+а"}


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(stress, "version", absent)
    monkeypatch.setitem(sys.modules, "silero_stress", None)
    stress._accentor.cache_clear()
    with pytest.raises(BadInput, match=r"data.stress=silero needs the package silero-stress, .*: pip install"):
        encode("вода", RU)


def test_other_languages_have_no_marks() -> None:
    with pytest.raises(ValueError, match="stress=silero is for language=ru, got language=en"):
        find_language("en", stress="silero")


def test_the_oldest_marks_are_dropped_beyond_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "_MOST", 2)
    monkeypatch.setattr(stress, "_known", {})
    monkeypatch.setattr(stress, "_accentor", lambda: lambda text, **_: text)
    for text in "абв":
        stress.marked(text)
    assert list(stress._known) == ["б", "в"]
