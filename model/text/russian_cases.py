"""The grammar that Russian readings follow: a word's forms, numbers in words, and the case that the words before them ask for.

The forms are those of pymorphy3's dictionary, the numbers those of num2words.
"""

import re
from functools import cache, lru_cache
from typing import Any

NUM2WORDS = {"nomn": "n", "gent": "g", "datv": "d", "accs": "a", "ablt": "i", "loct": "p"}  # pymorphy3's case: num2words's

_GOVERNED = {
    "gent": "без близ ввиду вдоль вместо вне внутри возле вокруг впереди для до из изнутри кроме мимо накануне насчёт начиная "
    "около от относительно помимо порядка после посреди посредством против ради сверху свыше среди у из-за из-под "
    "более больше менее меньше выше ниже старше моложе дороже дешевле дольше длиннее короче тяжелее легче раньше позже",
    "datv": "к ко благодаря вопреки навстречу соответственно согласно подобно по",
    "accs": "через про сквозь спустя",
    "ablt": "над надо перед передо между меж",
    "loct": "о об обо при",
    "gent ablt": "с со",
    "accs ablt": "за под",
    "accs loct": "в во на",
}
PREPOSITIONS = {word: frozenset(cases.split()) for cases, words in _GOVERNED.items() for word in words.split()}

# Negated existence and some verbs ask for the genitive: не было и двадцати минут, не хватило двух, достигает двух метров.
_GENITIVE = re.compile(
    r"\b(?:(?:не|ни) (?:было|будет|прошло|пройдёт|хвата\w+|хватит|хватило|доста[ёв]\w+|осталось|набралось|наберётся"
    r"|нашлось|стало)|нет|(?:не )?достиг\w*|лишил\w*|избежал\w*|хватит|хватило|хватает|касается|касались|требует)"
    r" (?:и |ни |даже |ещё |почти )?$",
    re.IGNORECASE,
)
_GOVERNOR = re.compile(
    r"([а-яё-]+) (?:более |менее |чем |почти |примерно |приблизительно |всего |целых |ещё )?$", re.IGNORECASE
)
_TWO_WORDS = re.compile(
    r"\b(?:в (?:течение|размере|пределах|количестве|возрасте|ходе|результате|составе|числе)"
    r"|за исключением|с (?:помощью|участием)|на (?:протяжении|основе|территории)|при (?:наличии|отсутствии)|силами|ценой) $",
    re.IGNORECASE,
)


@cache
def analyser() -> Any:
    """Return pymorphy3's analyser of Russian words."""
    from pymorphy3 import MorphAnalyzer

    return MorphAnalyzer(lang="ru")


@lru_cache(maxsize=4096)
def parses(word: str) -> tuple[Any, ...]:
    """Return what a word's form may be, the likeliest first."""
    return tuple(analyser().parse(word))


@lru_cache(maxsize=1024)
def inflected(word: str, *grammemes: str) -> str:
    """Return the form of a noun or an adjective that has these grammemes, or the word itself."""
    nominative = [parse for parse in parses(word) if parse.tag.POS in ("NOUN", "ADJF") and parse.tag.case == "nomn"]
    form = nominative[0].inflect(frozenset(grammemes)) if nominative else None
    return str(form.word) if form else word


def cardinal(figures: str, case: str = "n", gender: str = "m") -> str:
    """Return a whole number in words, in a case (n, g, d, a, i or p) and, where it has one, a gender (m, f or n)."""
    from num2words import num2words

    said = str(num2words(int(figures), lang="ru", case=case, gender=gender))
    return {"нолю": "нулю", "нолём": "нулём", "нолем": "нулём"}.get(said, said)


def ordinal(figures: str, **form: Any) -> str:
    """Return an ordinal in words; form: case, gender (m, f, n) and plural as num2words takes them."""
    from num2words import num2words

    return str(num2words(int(figures), lang="ru", to="ordinal", **form))


def is_one(figures: str) -> bool:
    """Return True for a number that has a singular noun: 1, 21, 101, but not 11."""
    return figures[-1] == "1" and figures[-2:] != "11"


def case_behind(preposition: str | None, order: str, otherwise: str = "nomn") -> str:
    """Return the first of the cases in `order` that a preposition allows, else `otherwise`."""
    asked = PREPOSITIONS.get((preposition or "").lower(), frozenset())
    return next((case for case in order.split() if case in asked), otherwise)


def cases_after(before: str) -> frozenset[str]:
    """Return the cases that the end of `before` allows for a noun behind it; an empty set if it says nothing."""
    if _GENITIVE.search(before) or _TWO_WORDS.search(before):
        return frozenset(["gent"])
    match = _GOVERNOR.search(before)
    if match is None:
        return frozenset()
    word = match[1].lower()
    if word in PREPOSITIONS:
        return PREPOSITIONS[word]
    pronouns = [parse.tag for parse in parses(word) if parse.tag.POS == "ADJF" and parse.tag.number == "plur"]
    if pronouns and all(tag.case in ("gent", "accs", "loct") for tag in pronouns):  # этих, последних
        return cases_after(before[: match.start(1)]) or frozenset(["gent"])
    return frozenset()
