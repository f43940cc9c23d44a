"""Russian measures that ru-normalizr misreads: 152-мм орудие, в 12 км к северу, с 9% уксуса, 2 ст. л. сахара, 30 с."""

import re

from model.text.russian_cases import NUM2WORDS, cardinal, case_behind, inflected, is_one, parses

_ADJECTIVES = {
    "мм": "миллиметровый", "см": "сантиметровый", "км": "километровый", "кг": "килограммовый", "кВт": "киловаттный",
    "%": "процентный",
}  # fmt: skip
_ADJECTIVE = re.compile(r"\b([0-9]{1,4})[- ]?(%)-?[а-яё]{1,3} ([а-яё]+)|\b([0-9]{1,4})-(мм|см|км|кг|кВт|%) ([а-яё]+)")
_JOINED = {"ста": "сто", "девяноста": "девяносто", "одного": "одно", "тысячи": "тысяче"}  # 150-летие: стопятидесятилетие
_SECONDS = re.compile(r"((?:мин\.?|за|через|каждые|длится) [0-9]+(?:,[0-9]+)?) ?с(?=\.?$|[,;.)]|(?<=мин) )")
_SPOON = re.compile(r"(?:\b((?i:с|со|к|ко|без|до|из|от|кроме|около|вместо)) )?\b([0-9]+) (ст|ч|дес)\. ?л\.(?=( [А-ЯЁ])?)")
_SPOONS = {"ст": "столовый", "ч": "чайный", "дес": "десертный"}
_AWAY = re.compile(
    r"(?:\b([А-ЯЁа-яё]+) )?\b([Вв]) ([0-9]{1,4}|1[.,]5)(?: (км|м|см)\b\.?)"
    r"(?= (?:от|к|на (?:север|юг|запад|восток)|по|до|выше|ниже|за|севернее|южнее"
    r"|западнее|восточнее|правее|левее|друг)\b)"
)
_LENGTHS = {"км": "километр", "м": "метр", "см": "сантиметр"}
_PERCENT = re.compile(
    r"\b((?i:с|со|к|ко|между|перед|над|о|об|при|в|во)) ([0-9]{1,3}) ?%"
    r"(?= (?!до |против |в )([а-яё]+)|[.,;]|$)(?![^.,;]* (?:до|по) [0-9])"
)
_CODES = {
    "УК": "уголовный", "ГК": "гражданский", "ТК": "трудовой", "НК": "налоговый", "СК": "семейный", "ЖК": "жилищный",
}  # fmt: skip
_CODE = re.compile(rf"(?:\b([А-ЯЁа-яё.]+|[0-9]+) )?\b({'|'.join(_CODES)}) РФ\b")


def expand_units(text: str) -> str:
    """Write such measures in words, or in a form that ru-normalizr reads well."""
    text = _ADJECTIVE.sub(_adjective, text)
    text = _SECONDS.sub(r"\1 сек", text)
    text = _SPOON.sub(_spoon, text)
    text = _AWAY.sub(_away, text)
    return _CODE.sub(_code, _PERCENT.sub(_percent, text))


def joined(number: str) -> str:
    """Return a number as the first part of a compound: genitives written together, but for сто, девяносто and тысяча."""
    return "".join(_JOINED.get(word, word) for word in (cardinal(number, "g") if number != "1000" else "тысячи").split())


def _adjective(match: re.Match[str]) -> str:
    """A compound adjective agrees with the noun behind it."""
    number, unit, noun = (match[1], match[2], match[3]) if match[1] else (match[4], match[5], match[6])
    tags = [parse.tag for parse in parses(noun) if parse.tag.POS == "NOUN"]
    if not tags:
        return match[0]
    tag = tags[0]
    form = ["plur"] if tag.number == "plur" else ["sing", tag.gender or "masc"]
    case = "nomn" if tag.case == "accs" and "inan" in tag and tag.gender != "femn" else tag.case
    return f"{joined(number)}{inflected(_ADJECTIVES[unit], case, *form)} {noun}"


def _spoon(match: re.Match[str]) -> str:
    preposition, number, kind, following = match.groups()
    last, last_two = int(number) % 10, int(number) % 100
    if preposition:
        case = case_behind(preposition, "ablt datv gent")
        grammemes = ("sing", "femn") if is_one(number) else ("plur",)
        adjective, noun = inflected(_SPOONS[kind], *grammemes, case), inflected("ложка", grammemes[0], case)
        forms = f"{preposition} {cardinal(number, NUM2WORDS[case], 'f')}", adjective, noun
    elif is_one(number):
        forms = cardinal(number, "a", "f"), inflected(_SPOONS[kind], "sing", "femn", "accs"), "ложку"
    elif 2 <= last <= 4 and not 12 <= last_two <= 14:
        forms = cardinal(number, "n", "f"), inflected(_SPOONS[kind], "plur", "nomn"), "ложки"
    else:
        forms = cardinal(number, "n", "f"), inflected(_SPOONS[kind], "plur", "gent"), "ложек"
    return " ".join(forms) + ("." if following else "")


def _away(match: re.Match[str]) -> str:
    """в 12 км к северу is a place, a locative; after a noun such as дистанция it is a measure."""
    word, preposition, number, unit = match.groups()
    if (
        word
        and parses(word.lower())[0].tag.POS == "NOUN"
        and re.match("дистанц|расстоян|рассто|длин|ширин|глубин|высот|пут|радиус", word)
    ):
        return match[0]
    spoken = cardinal(number, "p") if number.isdecimal() else "полутора"
    single = number.isdecimal() and is_one(number)
    lead = f"{word} " if word else ""
    return f"{lead}{preposition} {spoken} {inflected(_LENGTHS[unit], 'sing' if single else 'plur', 'loct')}"


def _percent(match: re.Match[str]) -> str:
    preposition, number, word = match.groups()
    if preposition.lower() in ("в", "во") and not (word and any(parse.tag.case == "gent" for parse in parses(word))):
        return match[0]
    before = match.string[: match.start()]
    if preposition.lower() in ("с", "со") and (
        not word or re.search(r"(?:на[чт]\w+|снизи\w+|вырос\w*|упа\w+|подн\w+|увел\w+|умен\w+) $", before)
    ):
        return match[0]
    case = case_behind(preposition, "datv loct ablt")
    noun = inflected("процент", "sing" if is_one(number) else "plur", case)
    return f"{preposition} {cardinal(number, NUM2WORDS[case])} {noun}"


def _code(match: re.Match[str]) -> str:
    word, code = match.groups()
    case = case_behind(word, "gent datv loct ablt", "gent" if word else "nomn")
    lead = f"{word} " if word else ""
    return f"{lead}{inflected(_CODES[code], 'masc', 'sing', case)} {inflected('кодекс', 'sing', case)} российской федерации"
