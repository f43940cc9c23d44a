"""Abbreviated Russian nouns in their case: на Невском пр., к о. Сахалин, на рис. 5, в Курской обл., в Курском р-не.

An adjective before the noun tells its case; else the preposition does, then the name behind it.
"""

import re

from model.text.russian_cases import PREPOSITIONS, cardinal, case_behind, inflected, parses

_NOUNS = {
    "ул": "улица", "пл": "площадь", "пр": "проспект", "просп": "проспект", "пер": "переулок", "бул": "бульвар",
    "бульв": "бульвар", "ш": "шоссе", "наб": "набережная", "пос": "посёлок", "дер": "деревня", "обл": "область",
    "о": "остров", "р": "река", "с": "село", "оз": "озеро", "ст": "станция", "губ": "губерния", "респ": "республика",
    "г": "город", "д": "дом", "кв": "квартира", "корп": "корпус", "рис": "рисунок", "табл": "таблица", "гл": "глава",
    "стр": "страница", "разд": "раздел", "прил": "приложение", "тел": "телефон", "каб": "кабинет", "ауд": "аудитория",
    "оф": "офис", "эт": "этаж", "п": "пункт", "ч": "часть", "подп": "подпункт", "абз": "абзац",
}  # fmt: skip
_NAMED = "ул|пл|просп|пр|пер|бул|бульв|наб|пос|дер|оз|о|р|с|ст|г|д|ш"
_NUMBERED = "рис|табл|гл|стр|разд|прил|каб|ауд|оф|кв|корп|д|п|ст|ч|подп|абз"
_PART = re.compile(rf"\b(?i:{_NUMBERED})\. ?[0-9]+ $")
_PREPOSITION = "|".join(sorted(PREPOSITIONS, key=len, reverse=True))
_ADJECTIVE = r"[А-ЯЁ][а-яё]+(?:-[А-ЯЁ][а-яё]+)?(?:ий|ый|ой|ого|его|ому|ему|ом|ем|им|ым|ая|яя|ую|юю)"
_AFTER = re.compile(
    rf"\b(?:(?i:({_PREPOSITION})) )?((?:{_ADJECTIVE} )?)({_ADJECTIVE}) (ул|пл|просп|пр|пер|бул|бульв|ш|наб|обл|губ|оз|о)\."
    r"(?:(\s+[А-ЯЁ])|(?= ?[а-яё0-9,;:)(«-]|\s*$))"
)
_BEFORE_NAME = re.compile(rf"(?:\b([а-яёА-ЯЁ]+) )?\b(?i:({_PREPOSITION})) ({_NAMED})\. ?(?=«?([А-ЯЁ][а-яё]+))")
_BARE_NAME = re.compile(r"(?<![0-9] )(?<![А-ЯЁа-яё0-9.])(р|с|о|ст|ул|пл)\. ?(?=([А-ЯЁ][а-яё]+))")
_BEFORE_NUMBER = re.compile(
    rf"\b(?:(?i:({_PREPOSITION})) )?((?i:{_NUMBERED}))\. ?([0-9]{{1,4}})(?![0-9]|[.,-][0-9]| ?- ?[0-9]|[а-яё])"
)
_TELEPHONE = re.compile(r"\b(по|с|на|к) тел\.? ?(?=[0-9+(])")
_JOINED = {
    "р-н": "район", "пр-т": "проспект", "пр-кт": "проспект", "б-р": "бульвар", "ин-т": "институт", "ун-т": "университет",
    "з-д": "завод", "ф-т": "факультет", "м-н": "микрорайон", "ф-к": "фабрик", "кол-в": "количеств", "изд-в": "издательств",
    "об-в": "обществ", "хоз-в": "хозяйств", "гос-в": "государств", "г-н": "господин", "д-р": "доктор", "гр-н": "гражданин",
    "гр-к": "гражданк", "г-ж": "госпож", "г-д": "господ",
}  # fmt: skip
_HYPHENED = re.compile(rf"\b((?i:{'|'.join(_JOINED)}))(?=[а-яё]{{0,2}}\b)")
_MOTION = re.compile(
    r"(?:приш|выш|зай|зашё|пош|уш|дош|при?ех|вые[хз]|пое[хд]|уех|уезж|переех|прибы|отправ|сверн|попа|поверн|вступ|ид[уёе]|ед[уе]|"
    r"вернул|въех|вош|пойд|поед|перев[её]з|перен[её]с|направ)",
    re.IGNORECASE,
)


def expand_nouns(text: str) -> str:
    """Write such nouns out, and the number behind them as it is said."""
    text = _HYPHENED.sub(lambda match: _JOINED[match[1].lower()], text)
    text = _TELEPHONE.sub(lambda match: f"{match[1]} {inflected('телефон', 'sing', _case(match[1]))} ", text)
    text = _AFTER.sub(_after, text)
    text = _BEFORE_NAME.sub(_before_name, text)
    text = _BEFORE_NUMBER.sub(_before_number, text)
    return _BARE_NAME.sub(_bare_name, text)


def _case(preposition: str | None) -> str:
    """Return the case that a place or a reference most often has behind a preposition."""
    return case_behind(preposition, "gent datv loct ablt accs")


def _after(match: re.Match[str]) -> str:
    preposition, other, adjective, short, following = match.groups()
    noun = _NOUNS[short]
    gender = "femn" if noun == "набережная" else parses(noun)[0].tag.gender
    own = [
        parse.tag.case
        for parse in parses(adjective.lower())
        if parse.tag.POS == "ADJF" and parse.tag.number == "sing" and parse.tag.gender == gender
    ]
    asked = PREPOSITIONS.get((preposition or "").lower(), frozenset())
    case = next((case for case in own if case in asked), own[0] if own else _case(preposition))
    lead = f"{preposition} " if preposition else ""
    return f"{lead}{other}{adjective} {inflected(noun, 'sing', case)}{'.' if following else ''}{following or ''}"


def _before_name(match: re.Match[str]) -> str:
    """The preposition tells the case: на ул. Ленина; behind a verb of motion, на and в have the accusative."""
    word, preposition, short, name = match.groups()
    noun, case = _kind(short, name), _case(preposition)
    if case == "loct" and preposition.lower() in ("в", "во", "на"):
        own = {parse.tag.case for parse in parses(name.lower()) if parse.tag.number != "plur"}
        if (word and _MOTION.match(word) and own & {"accs", "gent"}) or ("accs" in own and not own & {"nomn", "loct", "gent"}):
            case = "accs"
    lead = f"{word} " if word else ""
    return f"{lead}{preposition} {inflected(noun, 'sing', case)} "


def _bare_name(match: re.Match[str]) -> str:
    """Without a preposition, the noun has the case of the name."""
    short, name = match.groups()
    if short in ("ул", "пл") and {"ADJF", "femn"} not in parses(name.lower())[0].tag:
        return match[0]  # that of ул. Ленина is not known
    own = [parse.tag.case for parse in parses(name.lower()) if parse.tag.number == "sing" and parse.tag.case]
    case = next((case for case in own if case in ("nomn", "gent", "datv", "ablt")), "nomn")
    return f"{inflected(_kind(short, name), 'sing', case)} "


def _kind(short: str, name: str) -> str:
    """о. before a person's name is a father, not an island."""
    return "отец" if short == "о" and any("Name" in parse.tag for parse in parses(name.lower())) else _NOUNS[short]


def _before_number(match: re.Match[str]) -> str:
    preposition, short, number = match.groups()
    lead = f"{preposition} " if preposition else ""
    before = match.string[: match.start()]
    case = "gent" if not preposition and _PART.search(before) else _case(preposition)
    if case == "nomn" and re.search("[0-9] $", before):  # 5 ч. 20 мин.
        return match[0]
    noun = "статья" if short.lower() == "ст" else _NOUNS[short.lower()]
    return f"{lead}{inflected(noun, 'sing', case)} {cardinal(number)}"
