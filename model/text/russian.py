"""Russian: 33 letters (ё kept apart from е) with `+` before a stressed vowel, and a cleaner that spells out numbers and
abbreviations as a reader pronounces them."""

import re
import unicodedata
from typing import Any

from model.text.normalise import DOT, PUNCTUATION, collapse_whitespace, fold_punctuation

SYMBOLS = (*PUNCTUATION, *"абвгдеёжзийклмнопрстуфхцчшщъыьэюя+")  # + is the stress mark, before the stressed vowel

_VOWELS = "аеёиоуыэюяАЕЁИОУЫЭЮЯ"
_ACUTE = re.compile(rf"([{_VOWELS}])\u0301")
_STRAY_PLUS = re.compile(rf"[+](?![{_VOWELS}])")

_SHORT = {
    "т.д": "так далее", "т.п": "тому подобное", "т.е": "то есть", "т.к": "так как", "т.ч": "том числе", "н.э": "нашей эры",
    "др": "другие", "пр": "прочее", "напр": "например", "см": "смотри", "стр": "страница", "ул": "улица", "гг": "годы",
    "проф": "профессор", "руб": "рублей", "долл": "долларов", "тыс": "тысяч",
}  # fmt: skip
_SHORTENED = re.compile(rf"\b((?i:{'|'.join(short.replace('.', '[.] ?') for short in _SHORT)})){DOT}")
_CITY = re.compile(r"\b[гГ]\. ?(?=[А-ЯЁа-яё])")

# A unit after a number: its forms with 1, 2 and 5, and its gender, m or f.
_UNITS = {
    "руб": ("рубль", "рубля", "рублей", "m"), "₽": ("рубль", "рубля", "рублей", "m"),
    "коп": ("копейка", "копейки", "копеек", "f"), "долл": ("доллар", "доллара", "долларов", "m"),
    "%": ("процент", "процента", "процентов", "m"), "тыс": ("тысяча", "тысячи", "тысяч", "f"),
    "млн": ("миллион", "миллиона", "миллионов", "m"), "млрд": ("миллиард", "миллиарда", "миллиардов", "m"),
    "км": ("километр", "километра", "километров", "m"), "м": ("метр", "метра", "метров", "m"),
    "см": ("сантиметр", "сантиметра", "сантиметров", "m"), "мм": ("миллиметр", "миллиметра", "миллиметров", "m"),
    "кг": ("килограмм", "килограмма", "килограммов", "m"), "г": ("грамм", "грамма", "граммов", "m"),
    "л": ("литр", "литра", "литров", "m"), "ч": ("час", "часа", "часов", "m"),
    "мин": ("минута", "минуты", "минут", "f"), "сек": ("секунда", "секунды", "секунд", "f"),
}  # fmt: skip

_NUMBER = r"(?<![0-9])([0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
_FRACTION = r"(?:[.,]([0-9]+)(?![.,]?[0-9]))"
_YEAR = re.compile(rf"(?:\b([А-ЯЁа-яё]+) )?\b([12][0-9]{{3}}) ?(?:(год|года|году)\b|г{DOT})")
_MONTHS = "января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
_DATE = re.compile(rf"\b([0-9]{{1,2}})(?= (?i:{_MONTHS})\b)")
_ORDINAL = re.compile(r"\b([0-9]{1,15})-[оеыиау]?(й|я|е|го|му|м|ю|х)\b")
_MEASURE = re.compile(rf"{_NUMBER}{_FRACTION}? ?(?:([%₽])|({'|'.join(filter(str.isalpha, _UNITS))})\b{DOT}?)")
_DECIMAL = re.compile(rf"(?<![0-9][.,]){_NUMBER}{_FRACTION}")  # not in 12.05.1984
_WHOLE = re.compile(_NUMBER)
_SEAM = re.compile(r"(?<=[^\W\d_])(?=[0-9])|(?<=[0-9])(?=[^\W\d_])")  # between a letter and a digit

_YEAR_CASES = {"год": "n", "года": "g", "году": "p"}
_ORDINAL_FORMS: dict[str, dict[str, Any]] = {
    "й": {}, "я": {"gender": "f"}, "е": {"gender": "n"}, "го": {"case": "g"}, "му": {"case": "d"}, "м": {"case": "p"},
    "ю": {"case": "a", "gender": "f"}, "х": {"case": "g", "plural": True},
}  # fmt: skip


def clean(text: str) -> str:
    """Turn text into lower case, write an acute accent as `+` before its vowel, spell out numbers and abbreviations.

    Other scripts stay. A `+` that is not followed by a vowel is no stress mark: it becomes a full-width plus, which has no
    symbol, so that the front end reports it.
    """
    text = collapse_whitespace(fold_punctuation(unicodedata.normalize("NFC", text)))
    text = _STRAY_PLUS.sub("＋", _ACUTE.sub(r"+\1", text))
    text = _YEAR.sub(_year, re.sub("№ ?", "номер ", text))
    text = _CITY.sub("город ", text)
    text = _DATE.sub(lambda match: _words(match[1], to="ordinal", case="g"), text)
    text = _ORDINAL.sub(_ordinal, text)
    text = _MEASURE.sub(_measure, text)
    text = _SHORTENED.sub(lambda match: _SHORT[match[1].lower().replace(" ", "")], text)
    text = _SEAM.sub(" ", text)
    text = _DECIMAL.sub(lambda match: _decimal(match[1], match[2]), text)
    text = _WHOLE.sub(lambda match: _cardinal(match[1]), text)
    return collapse_whitespace(text.lower())


def _words(digits: str, **form: Any) -> str:
    from num2words import num2words

    return str(num2words(digits, lang="ru", **form))


def _cardinal(digits: str, gender: str = "m") -> str:
    digits = digits.replace(" ", "")
    if len(digits) > 15 or (digits[0] == "0" and len(digits) > 1):  # a telephone number, 007: read digit by digit
        return " ".join(map(_words, digits))
    # num2words would apply the gender to the millions, too ("две миллиона").
    return _words(digits, gender=gender if len(digits) <= 6 else "m")


def _decimal(whole: str, fraction: str) -> str:
    whole = whole.replace(" ", "")
    if len(whole) > 15 or len(fraction) > 3:  # beyond thousandths a reader pronounces the digits
        return " ".join((_cardinal(whole), "запятая", *map(_words, fraction)))
    return _words(f"{whole}.{fraction}")


def _ordinal(match: re.Match[str]) -> str:
    digits, ending = match.groups()
    form = _ORDINAL_FORMS[ending]
    if ending == "е" and digits[-1] == "0":  # 80-е: the eighties
        form = {"plural": True}
    return _words(digits, to="ordinal", **form)


def _year(match: re.Match[str]) -> str:
    before, digits, noun = match.groups()
    preposition = (before or "").lower()
    if noun is None:  # г.: "1984 год", "в 1984 году", "мая 1984 года"
        noun = "год" if not before else "году" if preposition in ("в", "во", "о", "об", "к", "ко") else "года"
    case = "d" if noun == "году" and preposition in ("к", "ко") else _YEAR_CASES[noun]
    return " ".join(filter(None, (before, _words(digits, to="ordinal", case=case), noun)))


def _measure(match: re.Match[str]) -> str:
    whole, fraction, sign, word = match.groups()
    one, few, many, gender = _UNITS[sign or word]
    if fraction:
        return f"{_decimal(whole, fraction)} {few}"
    last, last_two = int(whole[-1]), int(whole[-2:])
    if last == 1 and last_two != 11:
        unit = one
    elif 2 <= last <= 4 and not 12 <= last_two <= 14:
        unit = few
    else:
        unit = many
    return f"{_cardinal(whole, gender)} {unit}"
