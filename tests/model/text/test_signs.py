"""Signs that cannot be seen, that have no sound, and letters of another alphabet: nothing changes a word silently."""

import pytest

from model.text import english, russian
from model.text.frontend import encode
from model.text.languages import LANGUAGES, Language, find_language

EN, RU = find_language("en"), find_language("ru")
INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u2069\ufe0f"
WIDE = "\u00a0\u2002\u2009\u202f\u3000\t\n\x0b\x85\u2028"

every_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


@every_language
@pytest.mark.parametrize("sign", INVISIBLE, ids=ascii)
def test_what_cannot_be_seen_vanishes_without_complaint(language: Language, sign: str) -> None:
    word = language.letters[:6]
    encoded = encode(f"{sign}{word[:3]}{sign}{word[3:]}{sign}", language)
    assert (encoded.text, encoded.dropped) == (word, "")


@every_language
@pytest.mark.parametrize("sign", WIDE, ids=ascii)
def test_white_space_of_any_width_is_a_space(language: Language, sign: str) -> None:
    encoded = encode(f"{language.letters[:3]}{sign}{language.letters[3:6]}", language)
    assert (encoded.text, encoded.dropped) == (f"{language.letters[:3]} {language.letters[3:6]}", "")


@every_language
@pytest.mark.parametrize("sign", "[]*~|<>^_★🙂")
def test_a_dropped_sign_leaves_a_space_between_letters_only(language: Language, sign: str) -> None:
    one, two = language.letters[:3], language.letters[3:6]
    encoded = encode(f"{sign}{one}{sign}{two}{sign}, {sign} {one}{sign}.", language)
    assert encoded.text == f"{one} {two}, {one}."
    assert encoded.dropped == sign * 5
    assert encoded.lost == ""


@every_language
@pytest.mark.parametrize("sign", '"“”„«»')
def test_a_quotation_mark_may_be_the_only_border(language: Language, sign: str) -> None:
    one, two = language.letters[:3], language.letters[3:6]
    assert encode(f"{sign}{one}{sign}{two} {sign}{one},{sign}{two}.{sign}", language).text == f"{one} {two} {one}, {two}."


@pytest.mark.parametrize(
    ("text", "language", "lost"), [("Say 日 now", EN, "日"), ("да no", RU, "no"), ("да ٣", RU, "٣"), ("a★b", EN, "")]
)
def test_letters_and_digits_without_a_symbol_are_lost_speech(text: str, language: Language, lost: str) -> None:
    assert encode(text, language).lost == lost


@pytest.mark.parametrize(
    ("text", "language", "spoken", "corrected"),
    [
        ("Моя сoбака", RU, "моя собака", ("сoбака",)),
        ("Bода и ëлка", RU, "вода и ёлка", ("Bода", "ëлка")),
        ("Он пришёл c мамой", RU, "он пришёл с мамой", ("c",)),
        ("с\u00adoбака", RU, "собака", ("сoбака",)),
        ("Th\u0435 c\u0430t", EN, "the cat", ("Th\u0435", "c\u0430t")),
        ("\u0410 cat", EN, "a cat", ("\u0410",)),
        ("Это сон", RU, "это сон", ()),
    ],
)
def test_letters_that_look_alike_are_corrected_and_named(
    text: str, language: Language, spoken: str, corrected: tuple[str, ...]
) -> None:
    encoded = encode(text, language)
    assert (encoded.text, encoded.dropped, encoded.corrected) == (spoken, "", corrected)


@pytest.mark.parametrize(
    ("text", "language", "dropped"), [("Пьёт cocoa", RU, "cocoa"), ("WiFi-сеть", RU, "wifi"), ("Say мир", EN, "мир")]
)
def test_whole_words_of_another_alphabet_are_not_corrected(text: str, language: Language, dropped: str) -> None:
    encoded = encode(text, language)
    assert (encoded.dropped, encoded.corrected) == (dropped, ())


@pytest.mark.parametrize("text", ["XX век", "ХХ век", "XХ век"])
def test_roman_numerals_may_be_typed_in_either_alphabet(text: str) -> None:
    assert encode(text, RU).text == "двадцатый век"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("З+амок за 5 дней", "з+амок за пять дней"),
        ("Дорог+ая, 2 круж+ок, до́м № 3.", "дорог+ая, два круж+ок, д+ом номер три."),
        ("зам+ок и з+амок 1 мая", "зам+ок и з+амок первого мая"),
        ("+Это +я: 3+3", "+это +я: три плюс три"),
    ],
)
def test_stress_marks_of_the_text_stay_where_numbers_are_written_out(text: str, spoken: str) -> None:
    assert russian.clean(text) == spoken


def test_ligatures_and_accents_become_letters() -> None:
    assert encode("ﬁne staﬀ, eﬃcient ﬂy, naïve café", EN).text == "fine staff, efficient fly, naive cafe"
    assert english.clean("{HH AH0 L OW1}, Dr. {S M IH1 TH}") == "{HH AH0 L OW1}, doctor {S M IH1 TH}"
