"""Russian numbers in the case of a word that governs them, which ru-normalizr misses: равна 3,14; оснащён 70 кг; и др. поэтов.

A predicate such as `равно` has the dative behind it, and `располагает` the instrumental. Years of a period have the genitive
behind their noun: войны 1941-1945 гг.
"""

import re
from functools import partial

from model.text.russian_cases import NUM2WORDS, PREPOSITIONS, cardinal, case_behind, inflected, is_one, ordinal, parses

_PREDICATES = {
    "datv": r"рав(?:н[аоы]|ен)|равн(?:яется|яются|ялось|ялась|ялся)|соответству(?:ет|ют)|эквивалентн[аоы]",
    "ablt": r"оснащ[её]н[аоы]?|обладал?[аои]?(?:ет|ют)?|располагал?[аои]?(?:ет|ют)?|владе(?:ет|ют|л[аои]?)"
    r"|управля(?:ет|ют|л[аои]?)|команд(?:ует|уют|овал[аи]?)|вооруж[её]н[аоы]?|награжд[её]н[аоы]?|исчисляется|ограничен[аоы]?",
}
_UNITS = {
    "%": "процент", "кг": "килограмм", "г": "грамм", "км": "километр", "м": "метр", "см": "сантиметр", "мм": "миллиметр",
    "л": "литр", "га": "гектар", "тыс": "тысяча", "млн": "миллион", "млрд": "миллиард", "руб": "рубль",
}  # fmt: skip
_UNIT = rf"(?: ?(%|(?:{'|'.join(unit for unit in _UNITS if unit != '%')})\b)(?![/²³-]))?(?:(?<=[а-яё])\.(?= [а-яё]))?"
_NUMBER = r"([0-9]{1,3}(?: [0-9]{3})+|[0-9]{1,6})(?:,([0-9]{1,3}))?"
_GOVERNED = {
    case: re.compile(rf"\b((?i:{words})(?: (?:примерно|почти|приблизительно|всего))?) {_NUMBER}{_UNIT}(?![0-9:/])")
    for case, words in _PREDICATES.items()
}
_PARTS = {1: "десятый", 2: "сотый", 3: "тысячный"}
_OBLIQUE = "|".join(word for word, cases in PREPOSITIONS.items() if not cases & {"accs", "loct"})
_THIRDS = re.compile(rf"\b((?i:{_OBLIQUE})) ([12])/3\b(?!/)")
_YEARS = re.compile(r"\b([А-ЯЁа-яё]+) ([12][0-9]{3}) ?- ?([12][0-9]{3}) ?(?:гг\.?|годов\b)(?=( [А-ЯЁ]|\s*$)?)")
_OTHERS = re.compile(r"((?:\b([А-ЯЁа-яё]+), )?\b([А-ЯЁа-яё]+),?) и др\.(?: ([а-яё]+))?(?=(\s+[А-ЯЁ]|\s*$)?)")
_DIMENSIONS = re.compile(r"(?<![\w.,])([23])[DdДд](?:-| |\b)(?=([а-яёА-ЯЁ])?)")


def expand_governed(text: str) -> str:
    """Write such numbers in words, in their case."""
    for case, pattern in _GOVERNED.items():
        text = pattern.sub(partial(_governed, case), text)
    text = _DIMENSIONS.sub(lambda match: f"{'два' if match[1] == '2' else 'три'} дэ{' ' if match[2] else ''}", text)
    text = _YEARS.sub(_years, text) if "-" in text else text
    return _THIRDS.sub(_thirds, text) if "/3" in text else text


def expand_others(text: str) -> str:
    """Write out `и др.` in the case of the noun behind it, or else in that of the list before it."""
    return _OTHERS.sub(_others, text) if " и др." in text else text


def _governed(case: str, match: re.Match[str]) -> str:
    word, whole, part, unit = match.groups()
    whole = whole.replace(" ", "")
    rest = match.string[match.end() :]
    noun = _UNITS.get(unit or "", "")
    if not unit and not part and re.match(r"[,-][0-9]| ?[а-яёА-ЯЁA-Za-z°$€₽№+×=-]", rest):
        return match[0]  # a noun, whose form tells the case as well
    if part:
        spoken = f"{_shares(whole, 'целый', case)} {_shares(part, _PARTS[len(part)], case)}"
        return f"{word} {spoken} {inflected(noun, 'sing', 'gent') if noun else ''}".rstrip()
    said = cardinal(whole, NUM2WORDS[case], "f" if noun == "тысяча" else "m")
    return f"{word} {said} {inflected(noun, 'sing' if is_one(whole) else 'plur', case) if noun else ''}".rstrip()


def _shares(figures: str, share: str, case: str) -> str:
    """Return so many wholes, tenths, hundredths or thousandths."""
    if not int(figures):
        return f"{cardinal('0', NUM2WORDS[case])} {inflected(share, 'plur', 'gent')}"
    form = ("sing", "femn") if is_one(figures) else ("plur",)
    return f"{cardinal(figures, NUM2WORDS[case], 'f')} {inflected(share, *form, case)}"


def _thirds(match: re.Match[str]) -> str:
    preposition, figure = match.groups()
    case = case_behind(preposition, "ablt datv gent")
    noun = inflected("треть", "sing" if figure == "1" else "plur", case)
    return f"{preposition} {cardinal(figure, NUM2WORDS[case], 'f')} {noun}"


def _years(match: re.Match[str]) -> str:
    """Behind a noun the years are in the genitive, behind за in the accusative; others are left to ru-normalizr."""
    word, first, last, end = match.groups()
    if word.lower() == "за":
        case, noun = "n", "годы"
    elif word.lower() not in PREPOSITIONS and parses(word.lower())[0].tag.POS == "NOUN":
        case, noun = "g", "годов"
    else:
        return match[0]
    spoken = " - ".join(ordinal(year, case=case) for year in (first, last))
    return f"{word} {spoken} {noun}{'.' if end is not None else ''}"


def _others(match: re.Match[str]) -> str:
    before, listed, last, following, end = match.groups()
    behind = _plurals(following) if following else set()
    if not behind:
        behind = _cases(last) & _cases(listed) if listed else set()
    case = next((case for case in ("nomn", "gent", "datv", "ablt", "loct") if case in behind), "nomn")
    rest = f" {following}" if following else ""
    return f"{before} и {inflected('другой', 'plur', case)}{rest}{'.' if end is not None and not following else ''}"


def _cases(word: str) -> set[str]:
    return {parse.tag.case for parse in parses(word.lower()) if parse.tag.POS == "NOUN"}


def _plurals(word: str) -> set[str]:
    tags = [parse.tag for parse in parses(word.lower())]
    return {tag.case for tag in tags if tag.POS in ("NOUN", "ADJF", "PRTF") and tag.number == "plur"}
