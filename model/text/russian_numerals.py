"""Russian numerals in the case of what they count, where ru-normalizr misses it: 7 голодным детям, не хватило 2 баллов.

The noun's form decides first: 2, 3 and 4 stand before a genitive singular (два дома) or agree with a plural in an oblique case;
5 and more stand before a genitive plural or agree. A singular that cannot be counted has an ordinal: во 2 комнате.
"""

import re
from typing import Any

from model.text.russian_cases import NUM2WORDS, PREPOSITIONS, cardinal, cases_after, ordinal, parses

_NUMBER = r"[0-9]{1,3}(?: [0-9]{3})+|[0-9]{1,7}"
_COUNTED = re.compile(
    rf"(?<![\w.,:/+№§$€-])(?<![0-9№§#] )"
    rf"(?:({_NUMBER})( ?- ?| и | или ))?({_NUMBER})(?= ([а-яё-]+)(?: ([а-яё-]+))?(?: ([а-яё-]+))?)"
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_RANKED = _set("класс курс этаж ряд подъезд глава том раздел сезон тур раунд разряд сорт степень категория параграф вагон")
_MONTHS = _set("январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь")
_LEFT = _MONTHS | _set("век столетие тысяча миллион миллиард триллион")
_MEASURES = _set(
    "человек день час минута секунда неделя месяц сутки раз метр километр верста миля шаг тонна килограмм грамм литр "
    "рубль доллар копейка процент градус штука"
)
_SHORTENED = _set("коп руб тыс чел мин сек экз млн млрд трлн долл обл ред изд шт гр обр")
_EACH = re.compile(r"\bпо $", re.IGNORECASE)  # по две тетради
_AGED = re.compile(
    r"\b(?:мальчик|девочк|девушк|юнош|женщин|мужчин|дет(?:и|ей)\b|подростк|парн|парень|лиц[аою]?\b|пациент|стару[хш]|старик|вдов"
    r"|ребён[ок]к?)[а-яё]* $",
    re.IGNORECASE,
)
_THERE_IS = re.compile(
    r"\b(?:был[аои]?|есть|остал[аои]сь|име(?:ется|лось)|стоял[аои]?|лежал[аои]?)\b[^.;]*(?: и|,) $", re.IGNORECASE
)
_FROM = re.compile(r"\b(?:с|со|до|от|из|после|около|у|возле|без|для|кроме) $", re.IGNORECASE)
_REFERENCE = re.compile(  # часть 2 статьи: the number names it, and counts nothing
    r"\b(?:част|глав|том|пункт|стать|рисун|таблиц|дом|квартир|страниц|параграф|номер|вариант|корпус|раздел|шаг|этап)"
    r"[а-яё]{0,2} $",
    re.IGNORECASE,
)
_OBLIQUE = frozenset(["gent", "datv", "ablt", "loct"])
_GENDERS = {"masc": "m", "femn": "f", "neut": "n"}


def agree(text: str) -> str:
    """Write numerals before a noun in words where the noun, a preposition or the verb tells their case."""
    return _COUNTED.sub(_agree, text) if _COUNTED.search(text) else text


def _agree(match: re.Match[str]) -> str:
    first, joint, number, *words = match.groups()
    noun, adjective = _noun([word for word in words if word])
    if not noun or _is_left(noun[0], number, ranged=first is not None and "-" in joint):
        return match[0]
    before = match.string[: match.start()]
    form = _form(number.replace(" ", ""), noun, adjective, before)
    if form is None and first and joint.strip() == "-" and cases_after(before) <= {"accs", "loct", "ablt"}:
        form = False, "nomn", _GENDERS.get(noun[0].tag.gender, "m")  # ребёнку шесть семь лет
    if form is None or _REFERENCE.search(before):
        return match[0]
    is_ordinal, case, gender = form
    is_ordinal |= first is not None and noun[0].normal_form in ("класс", "курс")  # в седьмых восьмых классах
    if first and not is_ordinal and case == "nomn" and first[-1] == "1":
        return match[0]
    plural = is_ordinal and noun[0].tag.number == "plur"
    spoken = _spoken(number, is_ordinal, case, gender, plural)
    if first:
        return f"{_spoken(first, is_ordinal, case, gender, plural)}{joint.replace(' -', '').replace('-', ' ')}{spoken}"
    return spoken


def _is_left(noun: Any, number: str, ranged: bool) -> bool:
    """Tell whether other rules read it: dates, years, centuries, and millions."""
    if noun.normal_form == "год":
        return (noun.tag.number == "sing" and not (ranged and len(number) < 3)) or len(number) > 3
    return noun.normal_form in _LEFT


def _noun(words: list[str]) -> tuple[list[Any], bool]:
    """Return what the counted noun may be, and whether an adjective stands before it."""
    for index, word in enumerate(words):
        if len(word) < 3 or word in _SHORTENED:
            return [], False
        found = parses(word)
        following = index + 1 < len(words) and any(parse.tag.POS == "NOUN" for parse in parses(words[index + 1]))
        adjective = any(parse.tag.POS in ("ADJF", "PRTF") for parse in found)
        nouns = [parse for parse in found if parse.tag.POS == "NOUN" and "Abbr" not in parse.tag and "Surn" not in parse.tag]
        if nouns and not (adjective and following):
            return nouns, index > 0
        last = index + 1 == len(words) or not any(
            parse.tag.POS in ("NOUN", "ADJF", "PRTF") for parse in parses(words[index + 1])
        )
        if not adjective or last:  # за 8 ранеными
            return [parse for parse in found if parse.tag.POS in ("ADJF", "PRTF")], False
    return [], False


def _form(number: str, nouns: list[Any], adjective: bool, before: str) -> tuple[bool, str, str] | None:
    """Return whether an ordinal is meant, its case and its gender; nothing if that is not clear, or ru-normalizr's to tell."""
    asked = cases_after(before)
    singular = {parse.tag.case for parse in nouns if parse.tag.number == "sing"}
    singular = {case.replace("2", "t") if "loct" in asked and case == "loc2" else case for case in singular} - {"loc2", "gen2"}
    plural = {parse.tag.case for parse in nouns if parse.tag.number == "plur"}
    gender = _GENDERS.get(nouns[0].tag.gender, "m")
    ranked = nouns[0].normal_form in _RANKED
    last, last_two = int(number) % 10, int(number) % 100
    few = 2 <= last <= 4 and not 12 <= last_two <= 14
    if last == 1 and last_two != 11:
        return _single(nouns[0], singular, asked, gender, before)
    if few and "gent" in singular and not nouns[0].word.endswith(("ых", "их")):
        if not adjective and (_FROM.search(before) or (ranked and _after_noun(before))):
            return True, "gent", gender
        return (False, "nomn", gender) if not asked or asked & {"accs"} or _EACH.search(before) else None
    cases = plural & _OBLIQUE
    if few and cases == {"gent", "accs"} & cases and nouns[0].word.endswith(("ых", "их")):
        cases = set()
    if cases == {"gent"} and not asked and _is_attribute(nouns[0], before):
        return False, "gent", gender
    if cases:
        cases = cases & asked or (cases if len(cases) == 1 and (few or "gent" not in cases) else set())
        return (False, next(iter(cases)), gender) if len(cases) == 1 else None
    cases = (singular - {"nomn", "gent"}) & asked or singular - {"nomn", "gent", "accs"}
    if not plural and len(cases) == 1 and len(number) < 4:
        return True, next(iter(cases)), gender
    return None


def _single(noun: Any, singular: set[str], asked: frozenset[str], gender: str, before: str) -> tuple[bool, str, str] | None:
    ranked = noun.normal_form in _RANKED
    cases = singular & asked or singular
    if gender == "f" and "nomn" in cases and ("accs" not in cases or _THERE_IS.search(before) or _is_subject(noun, before)):
        return False, "nomn", gender
    if ranked and len(cases) == 1 and (cases != {"nomn"}) and (asked or _after_noun(before)):
        return True, next(iter(cases)), gender
    if cases == {"gent", "accs"} and gender == "m":
        cases = {"gent"}
    elif cases == {"accs"} and gender != "f":
        return None  # the same as the nominative
    return (False, next(iter(cases)), gender) if len(cases) == 1 and not cases & {"nomn"} and not ranked else None


def _is_subject(noun: Any, before: str) -> bool:
    """Tell whether a person or an animal stands behind a verb that has no object: росли 3 сына и 1 дочь."""
    words = re.findall(r"[а-яё]+", re.split(r"[.;:!?]", before)[-1].lower())
    verbs = [parse.tag for word in words for parse in parses(word)[:1] if parse.tag.POS == "VERB"]
    return noun.tag.animacy == "anim" and bool(verbs) and verbs[-1].transitivity == "intr"


def _is_attribute(noun: Any, before: str) -> bool:
    """Tell ages and what persons have: старуха 70 лет, гибель 11 шахтёров, but not в зале 11 шахтёров."""
    if noun.normal_form == "год":
        return _AGED.search(before) is not None and not before.endswith(("у ", "е ", "и ", "ям "))
    if noun.normal_form in _MEASURES:
        return False
    match = re.search(r"(?:([а-яё]+) )?([а-яё]+) $", before, re.IGNORECASE)
    if match is None or (match[1] or "").lower() in PREPOSITIONS:
        return False
    tag, lead = parses(match[2].lower())[0].tag, parses(match[1].lower())[0].tag.POS if match[1] else None
    if noun.tag.animacy != "anim":
        return bool({"NOUN", "anim", "nomn", "plur"} in tag)  # жители 12 деревень
    return bool({"NOUN", "inan"} in tag and tag.case in ("nomn", "accs") and lead != "ADJF")


def _after_noun(before: str) -> bool:
    """Tell whether the last word is a noun: ученик 3 класса has an ordinal, and закончил 3 класса has none."""
    match = re.search(r"([а-яё]+) $", before, re.IGNORECASE)
    return match is not None and parses(match[1].lower())[0].tag.POS == "NOUN"


def _spoken(number: str, is_ordinal: bool, case: str, gender: str, plural: bool = False) -> str:
    figures, case = number.replace(" ", ""), NUM2WORDS["nomn" if case == "accs" and gender != "f" else case]
    if plural:
        return ordinal(figures, case=case, plural=True)
    return ordinal(figures, case=case, gender=gender) if is_ordinal else cardinal(figures, case, gender)
