"""Texts as people write them are read as a person reads them; what is still read wrongly is known."""

import pytest

from tests.model.text.readings import Reading, heard, read, readings

# What is known to be read wrongly, with the reading that it gets. One that becomes right has to leave this table.
KNOWN_WRONG = {
    "en": {
        "Fax: 020 7946 0018.": "fax zero two zero seven thousand nine hundred forty six zero zero one eight",
    },
    "ru": {
        "Вместо 3 писем пришло 1.": "вместо трёх писем пришло один",
        "Скидка 10 % + подарок.": "скидка десять процентов подарок",
        "Он служил у гр. Воронцова.": "он служил у гр. воронцова",
        "Город осн. в 1147 г.": "город осн. в тысяча сто сорок седьмом году",
    },
}
SENTENCES = [(code, reading) for code in KNOWN_WRONG for reading in readings(code)]


def is_right(reading: Reading, code: str) -> bool:
    return heard(read(reading.text, code)) in [heard(right) for right in reading.right]


@pytest.mark.parametrize("kind", sorted({(code, reading.kind) for code, reading in SENTENCES}), ids=" ".join)
def test_a_text_is_read_as_a_person_reads_it(kind: tuple[str, str]) -> None:
    code, name = kind
    wrong = [
        (reading.text, read(reading.text, code))
        for reading in readings(code)
        if reading.kind == name and reading.text not in KNOWN_WRONG[code] and not is_right(reading, code)
    ]
    assert wrong == []


@pytest.mark.parametrize("code", KNOWN_WRONG)
def test_what_is_known_to_be_wrong_is_still_wrong_in_the_same_way(code: str) -> None:
    of_text = {reading.text: reading for reading in readings(code)}
    for text, given in KNOWN_WRONG[code].items():
        assert heard(read(text, code)) == heard(given)
        assert not is_right(of_text[text], code)


@pytest.mark.parametrize(("code", "least"), [("en", 150), ("ru", 200)])
def test_the_list_is_long_and_nearly_all_of_it_is_right(code: str, least: int) -> None:
    texts = [reading.text for reading in readings(code)]
    assert len(texts) == len(set(texts)) >= least
    assert set(KNOWN_WRONG[code]) <= set(texts)
    assert len(KNOWN_WRONG[code]) <= 0.05 * len(texts)


@pytest.mark.parametrize("code", KNOWN_WRONG)
def test_nothing_of_a_readable_text_is_dropped(code: str) -> None:
    """Every digit of the list has become a word."""
    assert not [reading.text for reading in readings(code) if any(map(str.isdigit, read(reading.text, code)))]
