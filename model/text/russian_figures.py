"""Russian dates, times, telephone numbers, sums and ordinals that ru-normalizr misreads."""

import re
from functools import lru_cache

from model.text.russian_cases import cardinal, ordinal, parses
from model.text.russian_government import expand_governed
from model.text.russian_numerals import agree
from model.text.russian_units import expand_units, joined

_NUMBER = r"[0-9]+(?: [0-9]{3})*(?:[.,][0-9]+)?"
_MONTHS = "январ|феврал|март|апрел|ма[йяю]|июн|июл|август|сентябр|октябр|ноябр|декабр"
_COINS = {"$": "долларов", "€": "евро", "£": "фунтов", "¥": "иен", "₽": "рублей", "₴": "гривен"}
_SUM = re.compile(rf"([{''.join(_COINS)}]) ?({_NUMBER}) ?((?:тыс|млн|млрд|трлн)\b\.?|тысяч\w*|миллион\w*|миллиард\w*)")
_POUNDS = re.compile(rf"£ ?({_NUMBER})")

_TIME_CASES = {"к": "d", "ко": "d", "в": "n", "во": "n", "на": "n"}
_BEFORE = "(?i:с|со|до|от|после|около|к|ко|в|во|на)"
_TIME = re.compile(
    rf"(?:\b({_BEFORE}) )?(?<![0-9:.])([01]?[0-9]|2[0-4]):([0-5][0-9])(?![0-9:])"
    rf"|\b({_BEFORE}) ([01]?[0-9]|2[0-4])(?:-(00|[1-5]0)|\.([0-5][0-9]))"
    r"(?![0-9%-]|[.,][0-9]| (?:раз|проц|м[лм]|км|руб|%|[а-яё]+ов\b))"  # not 2.50 in front of what is counted
)
_SCORE = re.compile(r"(?<![0-9:])([0-9]{1,3}):([0-9]{1,3})(?![0-9:])")
_PHONE = re.compile(
    r"(?<![0-9-])(?:[+]?[0-9]{1,3}[ -]?\(?[0-9]{3,5}\)?[ -]?[0-9]{1,3}[ -][0-9]{2}[ -][0-9]{2}"
    r"|[0-9]{2,3}-[0-9]{2}-[0-9]{2})(?![0-9-])"
)
_LIFE = re.compile(r"\(([12][0-9]{3}) ?- ?([12][0-9]{3})\)")

_ORDINAL = re.compile(r"\b([0-9]{1,15})-?[оыие]?(го|му)\b")
_HALF = re.compile(
    r"\b(?:((?i:около|до|более|менее|от|из|с|без|после|в течение|порядка|свыше)) )?1[.,]5 (?!тыс|мл|трлн)([а-яё]{3,})"
)
_COMPOUND = re.compile(
    r"\b([0-9]{1,4})-?(?=лети|метровк|этажк|тонк|рублёвк|рублевк|серийн|тысячник|дневк|секундн|граммов|томник)"
)
_PARTED = re.compile(
    r"\b([0-9]{1,3})-(?:ти|ми|х) (?=(?:этажн|комнатн|летн|местн|дневн|часов|кратн|томн|метров|тонн)[а-яё]{2,3}\b)"
)
_NEUTER = re.compile(r"\b([0-9]{1,4})-е(?=[.,;:!?)]|$)")
_COLLECTIVE = re.compile(r"\b([4-9])-ро\b")
_COLLECTIVES = ("четверо", "пятеро", "шестеро", "семеро", "восьмеро", "девятеро")
_UNTIL = re.compile(rf"(?<![0-9] )\b([Пп]о) ([0-9]{{1,2}}) (?=(?:{_MONTHS}))")
_RATIO = re.compile(r"\b((?:соотношени|пропорци|отношени|масштаб)[а-яё]*) ([0-9]+):([0-9]+)\b")
_CENTURY_OF = re.compile(r"\b(гг?\.|год\w*|половин\w|четверт\w+|начал\w|кон\w+|середин\w|треть?\w*|рубеж\w) ([IVX]+) в\.")
_SHE = re.compile(r"\b([а-яё]+ла(?:сь)?|быть|стать) ([0-9]{1,4})-й(?=[.,;!?]|$| (?:в|во|на|из|среди|после|до|от|по|за|и|с)\b)")
_HALF_UNITS = {
    "л": "литра", "км": "километра", "м": "метра", "кг": "килограмма", "ч": "часа", "т": "тонны", "га": "гектара",
    "мин": "минуты", "см": "сантиметра", "г": "грамма",
}  # fmt: skip
_HALF_UNIT = re.compile(rf"(?<=\b1[.,]5) ?({'|'.join(_HALF_UNITS)})\b(?![./])")
_BARE_UNIT = re.compile(r"\b(за|на|каждый) (кг|км|м|л|г|т|см|га)\b(?![./²³-])")
_UNITS = {
    "кг": "килограмм", "км": "километр", "м": "метр", "л": "литр", "г": "грамм", "т": "тонну", "см": "сантиметр",
    "га": "гектар",
}  # fmt: skip
_SCHOOL_YEAR = re.compile(r"\b([12][0-9]{3})[-/]((?:[12][0-9])?[0-9]{2}) (?=(?:учебн|финансов|отчётн)(ый|ого|ому|ом)\b)")
_CENTURY = re.compile(r"\b([0-9]{1,2}) (?=век(е|у|ом|)\b)|\b([5-9]|[12][0-9]) (?=века\b)")
_ROMAN = re.compile(
    r"(?<![\w-])([IVX]+) (?=(?:съезд|класс|конгресс|курс|тур|этап|сезон|фестиваль|чемпионат|форум|квартал|полк|созыв|турнир)\b)"
    r"|(?<![\w-])([IVX]+) (?=миров(?:ая|ой|ую)\b|степени\b|категории\b|группы\b)"
)
_OF_SHE = re.compile(r"\b((?i:к|ко|с|со|из|от|до|без|для|у|после|около|о|об|при|под|над|перед)) ([0-9]{1,9})-о?й\b")
_WITH_HIM = re.compile(r"\b((?i:с|со|под|над|перед|между)) ([0-9]{1,9})-ы?м\b")
_YEAR_BEHIND = re.compile(r"\b([Гг]од) ([12][0-9]{3})\b(?!-)")
_TODAY = re.compile(rf"\b((?i:сегодня|завтра|наступило|настало)) ([0-9]{{1,2}}) (?=(?:{_MONTHS}))")

_NIGHT = re.compile(rf"\b([Сс]) ([0-9]{{1,2}}) на(?= [0-9]{{1,2}} (?:{_MONTHS}))")
_SIZE = re.compile(r"(?<=[0-9]) ?[×xх] ?(?=[0-9]+(?:[.,][0-9]+)? ?(?:[мскд]?м|метр\w*|сантиметр\w*)\b)")

# ru-normalizr says "пять килограмм"; the standard language has "килограммов", but for the oblique cases.
_WEIGHT = re.compile(r"(?<!\bк )(?<!\bс )(?<!\bв )(?<![\w.,])([0-9]*(?:1[0-9]|[05-9])) ?(кг|мг|г)\b(?!\.(?= до| н))(?!/)")
_WEIGHTS = {"кг": "килограммов", "мг": "миллиграммов", "г": "граммов"}

_ZEROS = re.compile(rf"(?<![0-9.,:/+-])(?<![0-9] )0[0-9]+(?![0-9]|[.,:/-][0-9]| (?:{_MONTHS}))")
_BARE_YEAR = re.compile(r"(?:^|(?<=[.!?] ))([12][0-9]{3}) ?г\.")
_DECADE = re.compile(r"\b([12][0-9]{2}0|[2-9]0)-е(?=\s*(?:$|[,.;:!?)]|и\b|или\b|-))")
_ZERO = re.compile(
    r"\b((?i:до|от|около|более|менее|меньше|больше|свыше|из|без|порядка)) ноль целых ((?:[а-яё]+ ){1,2})(?=десят|сот|тысячн)"
)
_MILLIONS = re.compile(r"\b(одна|две)(?= (?:миллион|миллиард|триллион)(?!н))")


def expand_figures(text: str) -> str:
    """Rewrite such figures in words, or in a form that ru-normalizr reads well. `text` has no stress marks."""
    text = expand_units(expand_governed(_PHONE.sub(_phone, text)))
    text = _SUM.sub(lambda match: f"{match[2]} {match[3]} {_COINS[match[1]]}", text)
    text = _POUNDS.sub(lambda match: f"{match[1]} {_form(match[1], 'фунт', 'фунта', 'фунтов')} стерлингов", text)
    text = _RATIO.sub(lambda match: f"{match[1]} {cardinal(match[2])} к {cardinal(match[3], case='d')}", text)
    text = _PARTED.sub(lambda match: joined(match[1]), _CENTURY_OF.sub(r"\1 \2 века", text))
    text = _LIFE.sub(lambda match: f"({ordinal(match[1])} - {ordinal(match[2])})", text)
    text = _SCORE.sub(r"\1 - \2", _TIME.sub(_time, text))
    text = _WEIGHT.sub(_weight, text)
    text = _SIZE.sub(" на ", _ZEROS.sub(lambda match: " ".join(map(cardinal, match[0])), text))
    text = _HALF_UNIT.sub(
        lambda match: f" {_HALF_UNITS[match[1]]}", _BARE_UNIT.sub(lambda match: f"{match[1]} {_UNITS[match[2]]}", text)
    )
    text = _COMPOUND.sub(lambda match: joined(match[1]), _HALF.sub(_half, text))
    return agree(_expand_ordinals(text))


def _expand_ordinals(text: str) -> str:
    text = _BARE_YEAR.sub(lambda match: f"{ordinal(match[1])} год", text)
    text = _YEAR_BEHIND.sub(lambda match: f"{match[1]} {ordinal(match[2])}", text)
    text = _DECADE.sub(lambda match: ordinal(match[1], plural=True), text)
    text = _SCHOOL_YEAR.sub(_school_year, _CENTURY.sub(_century, text))
    text = _ROMAN.sub(lambda match: f"{match[1]}-й " if match[1] else _roman_she(match), text)
    text = _OF_SHE.sub(lambda match: f"{match[1]} {ordinal(match[2], gender='f', case='g')}", text)
    text = _UNTIL.sub(lambda match: f"{match[1]} {ordinal(match[2], gender='n')} ", text)
    text = _COLLECTIVE.sub(lambda match: _COLLECTIVES[int(match[1]) - 4], text)
    text = _NEUTER.sub(lambda match: ordinal(match[1], gender="n"), text)
    text = _SHE.sub(lambda match: f"{match[1]} {ordinal(match[2], gender='f', case='i')}", text)
    text = _WITH_HIM.sub(lambda match: f"{match[1]} {ordinal(match[2], case='i')}", text)
    text = _ORDINAL.sub(lambda match: ordinal(match[1], case="g" if match[2] == "го" else "d"), text)
    text = _NIGHT.sub(lambda match: f"{match[1]} {ordinal(match[2], case='g')} на", text)
    return _TODAY.sub(lambda match: f"{match[1]} {ordinal(match[2], gender='n')} ", text)


def correct_numerals(text: str) -> str:
    """Give millions their gender, which ru-normalizr takes from the noun behind them, and 0,5 its genitive."""
    text = _ZERO.sub(lambda match: f"{match[1]} нуля целых {_genitive(match[2])} ", text)
    return _MILLIONS.sub(lambda match: {"одна": "один", "две": "два"}[match[1]], text)


@lru_cache(maxsize=4096)
def _time(match: re.Match[str]) -> str:
    """10:30 is "десять тридцать", a full hour "десять часов", both in the case of the preposition."""
    before, hour, minutes = match[1] or match[4], match[2] or match[5], match[3] or match[6] or match[7]
    case = _TIME_CASES.get((before or "в").lower(), "g")
    lead = f"{before} " if before else ""
    if minutes == "00" and int(hour):
        forms = {"n": ("час", "часа", "часов"), "g": ("часа", "часов", "часов"), "d": ("часу", "часам", "часам")}[case]
        return f"{lead}{cardinal(hour, case=case)} {_form(hour, *forms)}"
    spoken = "ноль ноль" if not int(hour) else cardinal(hour, case=case)
    if minutes == "00":
        return f"{lead}{spoken} ноль ноль"
    return f"{lead}{spoken} {'ноль ' if minutes[0] == '0' else ''}{cardinal(minutes, case=case)}"


def _weight(match: re.Match[str]) -> str:
    figures, unit = match.groups()
    rest = match.string[match.end() :]
    if unit == "г" and (len(figures) > 3 or rest.startswith(".")):  # a year
        return match[0]
    return f"{figures} {_WEIGHTS[unit]}"


def _phone(match: re.Match[str]) -> str:
    """Groups of digits are numbers; a group with a leading zero is read digit by digit."""
    groups = re.findall("[0-9]+", match[0])
    spoken = ", ".join(" ".join(map(cardinal, group)) if group[0] == "0" else cardinal(group) for group in groups)
    return f"плюс {spoken}" if match[0].startswith("+") else spoken


def _form(number: str, one: str, few: str, many: str) -> str:
    """Return the form of a noun behind a number: that of 1, of 2 to 4, and of the others and 11 to 14."""
    number = number.replace(" ", "")
    if not number.isdecimal():
        return few
    last, last_two = int(number) % 10, int(number) % 100
    return one if last == 1 and last_two != 11 else few if 2 <= last <= 4 and not 12 <= last_two <= 14 else many


def _genitive(numerals: str) -> str:
    """Return numerals in the genitive. The dictionary has all but the feminine one, whose fraction changes, too."""
    forms = (parses(word)[0].inflect({"gent"}) for word in numerals.split())
    return " ".join(form.word for form in forms if form)


def _century(match: re.Match[str]) -> str:
    """21 век is the twenty-first, and 5 веков are five."""
    if match[3]:
        return f"{ordinal(match[3], case='g')} "
    return f"{ordinal(match[1], case={'е': 'p', 'у': 'd', 'ом': 'i', '': 'n'}[match[2]])} "


def _school_year(match: re.Match[str]) -> str:
    """2007-2008 учебный год: both years in the case of the adjective."""
    case = {"ый": "n", "ого": "g", "ому": "d", "ом": "p"}[match[3]]
    first, last = match[1], match[2] if len(match[2]) == 4 else match[1][:2] + match[2]
    return f"{ordinal(first, case=case)} - {ordinal(last, case=case)} "


def _roman_she(match: re.Match[str]) -> str:
    """II мировая and II степени are feminine."""
    rest = match.string[match.end() :]
    return f"{match[2]}-{'я' if rest.startswith('мировая') else 'ю' if rest.startswith('мировую') else 'й'} "


def _half(match: re.Match[str]) -> str:
    """1,5 is "полтора", in oblique cases "полутора"."""
    before, noun = match.groups()
    if before:
        return f"{before} полутора {noun}"
    return f"полт{'оры' if re.search('[иы]$', noun) else 'ора'} {noun}"
