"""Phonemes: read the same whatever was read before, spelled with the symbols of their table, and beside the text in letters."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model.data.demo import choose
from model.errors import BadInput
from model.text import espeak
from model.text.frontend import decode, encode
from model.text.languages import LANGUAGES, find_language
from model.text.russian_vowels import stressed
from tests.model.text.readings import readings

EN = find_language("en", "phonemes")


def sentences(code: str) -> list[str]:
    return LANGUAGES[code].sentences.read_text(encoding="utf-8").splitlines()


def said(text: str, code: str = "en") -> str:
    return decode(encode(text, find_language(code, "phonemes")))


@pytest.mark.parametrize("code", ["en", "ru"])
def test_every_phoneme_of_the_sentences_has_a_symbol(code: str) -> None:
    language = find_language(code, "phonemes")
    for text in (*sentences(code), *choose(language, 0, 60, "matrix"), *(one.text for one in readings(code))):
        assert encode(text, language).dropped == encode(text, LANGUAGES[code]).dropped
    assert len(set(language.symbols)) == len(language.symbols)
    assert language.symbols[:12] == LANGUAGES[code].symbols[:12]  # padding and punctuation


@pytest.mark.parametrize("code", ["en", "ru"])
def test_the_order_of_reading_and_threads_change_nothing(code: str) -> None:
    texts = sentences(code)
    first = {text: said(text, code) for text in texts}
    random.Random(1).shuffle(texts)
    both = [(text, each) for text in texts for each in ("en", "ru") if each == code or text.isascii()]
    with ThreadPoolExecutor(4) as pool:
        for (text, each), found in zip(both, pool.map(lambda pair: said(*pair), both), strict=True):
            assert each != code or found == first[text]


def test_another_process_reads_the_same() -> None:
    text = "The red record, which I have read."
    code = "import sys; from tests.model.text.test_phonemes import said; sys.stdout.buffer.write(said(sys.argv[1]).encode())"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, text], cwd=root, capture_output=True, check=True)
    assert done.stdout.decode() == said(text)


def test_the_text_stays_in_letters() -> None:
    """The listener spells it, and it is shown; the limits count its symbols."""
    for code, text in (("en", "Dr. Smith's dogs, 5 of them!"), ("ru", "Вот 5 книг - и д+ом.")):
        letters, phonemes = encode(text, find_language(code)), encode(text, find_language(code, "phonemes"))
        assert (phonemes.text, phonemes.dropped, phonemes.length) == (letters.text, letters.dropped, len(letters.ids))
        assert phonemes.ids != letters.ids
        assert find_language(code, "phonemes").letters == find_language(code).letters


def test_punctuation_stays_in_its_place() -> None:
    text = said("Hello, world! It's well-known - yes (really): why? So; end.")
    assert [mark for mark in text if not mark.isalpha() and mark not in " ˈˌː"] == list(",!-():?;.")
    assert text.startswith("həlˈoʊ, wˈɜːld! ɪts wˈɛlnˈoʊn - jˈɛs (")


def test_arpabet_in_braces_is_said_as_written() -> None:
    assert said("{HH AH0 L OW1}") == said("hello") == "həlˈoʊ"
    assert said("Say {HH AH0 L OW1}, now.") == "sˈeɪ həlˈoʊ, nˈaʊ."
    phones = sorted({symbol[1:] for symbol in LANGUAGES["en"].symbols if symbol.startswith("@")})
    for phone in phones:
        encoded = encode(f"{{{phone}}}", EN)
        assert encoded.ids, phone
        assert not encoded.dropped


def test_a_letter_of_another_script_is_reported_once() -> None:
    encoded = encode("Say собака now", EN)
    assert (encoded.lost, encoded.text) == ("собака", encode("Say собака now", LANGUAGES["en"]).text)


def test_a_stress_mark_chooses_the_homograph() -> None:
    castle, lock = said("Это ста́рый за́мок.", "ru"), said("Это ста́рый замо́к.", "ru")
    assert castle.endswith("zˈɑmʌk.")
    assert lock.endswith("zamˈok.")
    assert castle.replace("zˈɑmʌk", "zamˈok") == lock
    assert [said("дом+а", "ru"), said("д+ома", "ru")] == ["dʌmˈɑ", "dˈoma"]


def test_the_rules_of_the_vowels_are_those_of_espeak() -> None:
    """A word whose mark stands where espeak-ng has the stress sounds as espeak-ng says it."""
    words = {word.strip(".,!?").lower() for text in sentences("ru") for word in text.split()}
    vowels, compared = "аеёиоуыэюя", 0
    for word in sorted(words):
        spoken = espeak.phonemes(word, "ru")
        places = [place for place, letter in enumerate(word) if letter in vowels]
        before = spoken.partition("ˈ")[0].replace("ɪ^", "")
        index = sum(sound in "aeiouyɑɛɪɵʌ" for sound in before)
        if spoken.count("ˈ") != 1 or "ˈj" in spoken or "-" in word or index >= len(places):
            continue
        place = places[index]
        compared += 1
        assert stressed(f"{word[:place]}+{word[place:]}", spoken) == spoken, word
    assert compared > 300


def test_without_espeak_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak._library.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(BadInput, match=r"need espeak-ng to read phonemes .*reinstall the package espeakng-loader, or set"):
        said("hello")
    monkeypatch.undo()
    assert said("hello") == "həlˈoʊ"


def test_data_behind_a_long_path_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    short = espeak._short(folder)
    assert len(str(short)) < 100
    assert short.resolve() == folder.resolve()


def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(ValueError, match="need input letters or phonemes, got 'ipa'"):
        find_language("en", "ipa")
