"""The text front end: the order of the symbol tables, numbers in words, and no character lost silently."""

import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text import english, russian
from model.text.frontend import Encoded, decode, encode
from model.text.languages import LANGUAGES, Language, find_language
from model.text.lookalikes import correct_lookalikes
from model.text.normalise import strip_invisible

EN, RU = find_language("en"), find_language("ru")
RUSSIAN_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
NO_BRACES = st.one_of(
    st.text(st.characters(exclude_characters="{}")),
    st.text(st.sampled_from("ab éßЙйЁёя+\u0301\u0306_~$£%№0123456789.,-'\"«—stdr\n\u00a0")),
)

every_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


@pytest.mark.parametrize(
    ("symbol", "index"),
    [("_", 0), ("-", 1), (" ", 11), ("A", 12), ("a", 38), ("z", 63), ("@AA", 64), ("@B", 88), ("@HH", 106), ("@ZH", 147)],
)
def test_english_has_the_ids_of_nvidia(symbol: str, index: int) -> None:
    assert EN.symbols.index(symbol) == index


def test_the_tables_have_their_published_symbols() -> None:
    assert len(EN.symbols) == 148
    assert "".join(RU.symbols) == f"_-!'(),.:;? {RUSSIAN_LETTERS}+"


@every_language
def test_a_table_has_each_symbol_once_and_the_padding_first(language: Language) -> None:
    assert len(language.symbols) == len(set(language.symbols))
    assert language.symbols[0] == "_"
    assert LANGUAGES[language.code] is language


def test_an_unknown_language_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"one of {', '.join(LANGUAGES)}, got 'xx': choose"):
        find_language("xx")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("It cost 1,000 or 1000000 or 0.", "it cost one thousand or one million or zero."),
        ("123 or 1,234,005", "one hundred twenty-three or one million two hundred thirty-four thousand five"),
        ("3.14 and 10.05.", "three point one four and ten point zero five."),
        ("1st 2nd 23rd 100th", "first second twenty-third one hundredth"),
        ("$1, $2.50, $0.01, $3 million", "one dollar, two dollars fifty cents, one cent, three million dollars"),
        ("£20, £0.50, €1.5", "twenty pounds, fifty pence, one point five euros"),
        ("1984 1905 2007 2024", "nineteen eighty-four nineteen oh-five two thousand seven twenty twenty-four"),
        ("1,984 men", "one thousand nine hundred eighty-four men"),
        ("007", "zero zero seven"),
        ("1234567890" * 2, " ".join(["one two three four five six seven eight nine zero"] * 2)),
        ("12.05.1984", "the twelfth of may, nineteen eighty-four"),
        ("5kg at 50% & 7 %.", "five kilograms at fifty percent and seven percent."),
        ("Mr. and Mrs. Dr. St. Paul", "mister and misess doctor saint paul"),
        ("Ford Jr. of Acme Co. sang, etc. and left.", "ford junior of acme company sang, et cetera and left."),
        ("I met Smith Jr. He left. So did Smith & Co.", "i met smith junior. he left. so did smith and company."),
        ("most costs of a cot", "most costs of a cot"),
        ("Café — naïve, Łódź, Straße, ﬁne, x̌…", "cafe - naive, lodz, strasse, fine, x..."),
        ("“It’s ‘fine’,”\u00a0 he \n said. ", "it's 'fine', he said."),
        ("Say {HH AH0 L OW1} to {K}{AE1 T}.", "say {HH AH0 L OW1} to {K AE1 T}."),
        ("{HELLO} {hh ah0}", "{hello} {hh ah zero}"),
    ],
)  # fmt: skip
def test_english_is_spelt_out_as_a_reader_pronounces_it(text: str, spoken: str) -> None:
    assert english.clean(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("У меня 2 кота, 21 дом и 1000 книг.", "у меня два кота, двадцать один дом и одна тысяча книг."),
        ("1 000 000 и 5\u00a0000", "один миллион и пять тысяч"),
        ("3,14 и 0.5", "три целых четырнадцать сотых и ноль целых пять десятых"),
        ("1,0005", "одна целая пять десятитысячных"),
        ("5-й, 3-я, 2-е, 10-го, 80-е, 80-х", "пятый, третья, второе, десятого, восьмидесятые, восьмидесятых"),
        ("12 мая 1984 г. он уехал", "двенадцатого мая тысяча девятьсот восемьдесят четвёртого года он уехал"),
        ("в 2000 г. и к 2001 году", "в двухтысячном году и к две тысячи первому году"),
        ("1984 г. и 1984 год", "тысяча девятьсот восемьдесят четвёртый год и тысяча девятьсот восемьдесят четвёртый год"),
        ("1 руб. 22 коп. за 5 кг и 11 %", "один рубль двадцать две копейки за пять килограммов и одиннадцать процентов"),
        ("2 тыс. руб., 3 млн долл.", "две тысячи рублей, три миллиона долларов."),
        ("2,5 км", "две целых пять десятых километра"),
        ("21 мин, 2000005 мин", "двадцать одна минута, два миллиона пять минут"),
        ("12.05.1984", "двенадцатого мая тысяча девятьсот восемьдесят четвёртого года"),
        ("007, А4, № 5", "ноль ноль семь, а четыре, номер пять"),
        ("г. Москва и др. города, т. е. все", "город москва и другие города, то есть все"),
        ("Хлеб, соль и т.д. Потом чай и т.п.", "хлеб, соль и так далее. потом чай и тому подобное."),
        ("за́мок, ЗАМО́К, з+амок", "з+амок, зам+ок, з+амок"),
        ("при+вет 2+2 +1", "при＋вет два плюс два плюс один"),
        ("«Ёлка» — „ещё“…", "ёлка - ещё..."),
    ],
)
def test_russian_is_spelt_out_as_a_reader_pronounces_it(text: str, spoken: str) -> None:
    assert russian.clean(text) == spoken


@every_language
@given(text=NO_BRACES)
def test_every_character_is_encoded_or_reported(language: Language, text: str) -> None:
    """Nothing but spaces is added, and nothing but spaces and what cannot be seen is lost."""
    encoded = encode(text, language)
    assert decode(encoded) == encoded.text
    corrected, _ = correct_lookalikes(strip_invisible(unicodedata.normalize("NFC", text)), language)
    cleaned = language.clean(corrected)
    before, after = Counter(cleaned), Counter(encoded.text + encoded.dropped)
    assert {*(before - after), *(after - before)} <= {" "}
    assert 0 not in encoded.ids


@every_language
@given(text=NO_BRACES)
def test_composed_and_decomposed_text_are_encoded_alike(language: Language, text: str) -> None:
    composed, decomposed = (encode(unicodedata.normalize(form, text), language) for form in ("NFC", "NFD"))
    assert composed == decomposed


@given(st.lists(st.sampled_from([s for s in EN.symbols if s.startswith("@")]), min_size=1))
def test_arpabet_is_decoded_in_braces(phones: list[str]) -> None:
    text = f"say {{{' '.join(phone[1:] for phone in phones)}}}."
    encoded = encode(text, EN)
    assert [EN.symbols[index] for index in encoded.ids[4:-1]] == phones
    assert decode(encoded) == encoded.text == text
    assert encoded.dropped == ""


def test_russian_keeps_every_letter() -> None:
    encoded = encode(unicodedata.normalize("NFD", RUSSIAN_LETTERS.upper()), RU)
    assert encoded.text == decode(encoded) == RUSSIAN_LETTERS
    assert encoded.dropped == ""


def test_letters_of_another_script_are_reported() -> None:
    assert encode("Съешь ещё, Йод!", EN).dropped == "съешьещёйод"
    assert encode("Say it, André!", RU).dropped == "sayitandré"


@pytest.mark.parametrize(
    ("text", "language", "dropped"),
    [("a_b~c", EN, "_~"), ("а_б~в", RU, "_~"), ("{YO} [x]", EN, "{}[]"), ("за+мок", RU, "＋"), ("{AA}", RU, "{aa}")],
    ids=["English", "Russian", "braces", "a stray stress mark", "ARPAbet in Russian"],
)
def test_characters_without_a_symbol_are_reported_in_order(text: str, language: Language, dropped: str) -> None:
    assert encode(text, language).dropped == dropped


@pytest.mark.parametrize("text", ["", " \n", '"', "★"])
def test_a_text_without_speech_gives_no_ids(text: str) -> None:
    assert encode(text, EN).ids == ()


@pytest.mark.parametrize("index", [-1, 46])
def test_an_id_outside_the_table_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"ids from 0 to 45 for 'ru', got {index}"):
        decode(Encoded((12, index), "", "", RU))


def test_the_front_end_loads_without_heavy_libraries() -> None:
    heavy = "{'torch', 'num2words', 'numpy', 'ru_normalizr', 'pymorphy3'}"
    code = f"import sys, model.text.frontend; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
