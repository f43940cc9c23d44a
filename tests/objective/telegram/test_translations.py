"""Both languages have the same texts, for everything that a study can report."""

import re
from string import Formatter

import pytest

from objective.search.repair import REMEDIES, UNKNOWN
from objective.telegram.translations import LANGUAGES, Translator
from pruners.rules import shipped_rules
from pruners.thresholds import Thresholds

ENGLISH, RUSSIAN = LANGUAGES["en"], LANGUAGES["ru"]


def fields(text: str) -> dict[str, set[str]]:
    """Return the placeholders of a text with their forms of a noun."""
    found: dict[str, set[str]] = {}
    for _, name, forms, _ in Formatter().parse(text):
        if name:
            found.setdefault(name, set()).update([forms] if forms else [])
    return found


def test_the_languages_have_the_same_keys_with_the_same_placeholders() -> None:
    for texts in LANGUAGES.values():
        assert texts.keys() == ENGLISH.keys()
        for key, text in texts.items():
            assert fields(text).keys() == fields(ENGLISH[key]).keys(), key


@pytest.mark.parametrize(("texts", "count"), [(ENGLISH, 2), (RUSSIAN, 3)])
def test_a_noun_has_all_forms_of_its_language(texts: dict[str, str], count: int) -> None:
    nouns = [forms for text in texts.values() for all_forms in fields(text).values() for forms in all_forms]
    assert nouns
    assert {len(forms.split("|")) for forms in nouns} == {count}


def test_russian_texts_are_in_russian() -> None:
    for key, text in RUSSIAN.items():
        words = re.sub(r"{[^}]*}|</?\w+>", "", text)
        assert re.search("[а-яё]", words) or not re.search("[a-z]{3}", words), key


def test_every_shipped_rule_and_every_remedy_has_advice_and_there_is_no_other() -> None:
    assert {rule.name for rule in shipped_rules(Thresholds())} <= REMEDIES.keys()
    remedies = {f"advice_{remedy.advice}" for remedy in (*REMEDIES.values(), UNKNOWN)}
    for texts in LANGUAGES.values():
        assert {key for key in texts if key.startswith("advice_")} == remedies


def test_a_rule_without_a_remedy_of_its_own_gets_general_advice() -> None:
    assert Translator("en").advice("a_rule_of_yours") == ENGLISH["advice_unknown"]


def test_durations_are_in_the_language() -> None:
    assert [Translator(language).duration(3_725) for language in ("en", "ru")] == ["1 h 02 min", "1 ч 02 мин"]
    assert [Translator(language).duration(200_000) for language in ("en", "ru")] == ["2 d 7 h", "2 д 7 ч"]


@pytest.mark.parametrize(
    ("language", "counted"),
    [
        ("en", {0: "messages", 1: "message", 2: "messages", 11: "messages", 21: "messages"}),
        ("ru", {0: "сообщений", 1: "сообщение", 2: "сообщения", 5: "сообщений", 11: "сообщений", 12: "сообщений"}),
        ("ru", {14: "сообщений", 21: "сообщение", 24: "сообщения", 25: "сообщений", 101: "сообщение", 111: "сообщений"}),
    ],
)
def test_a_noun_agrees_with_its_number(language: str, counted: dict[int, str]) -> None:
    for count, noun in counted.items():
        assert f"{count} {noun} " in Translator(language)("strangers", count=count)


@pytest.mark.parametrize(("language", "sentence"), [("en", "the process was killed"), ("ru", "процесс был убит")])
def test_a_known_stop_reason_is_translated_and_any_other_sentence_kept(language: str, sentence: str) -> None:
    translate = Translator(language)
    assert translate.stop_reason("killed").startswith(sentence)
    assert translate.stop_reason("trial 3 reached 0.4 < 0.5") == "trial 3 reached 0.4 &lt; 0.5"
