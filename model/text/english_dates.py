"""English dates, times of the day, ranges and telephone numbers, from figures to words. All text is in lower case."""

import re

from model.text.english_abbreviations import MONTHS
from model.text.english_numbers import NUMBER, amount, digits, number, ordinal

_NAMES = list(dict.fromkeys(MONTHS.values()))
_MONTH = "|".join((*_NAMES, *(name for name in MONTHS if name != "may")))
_DAYS = "([0-3]?[0-9])(?:st|nd|rd|th)?(?: to ([0-3]?[0-9])(?:st|nd|rd|th)?)?"
_MONTH_DAY = re.compile(rf"\b({_MONTH}) {_DAYS}(?![\w:%/]|[.,][0-9])(?:,? ([0-9]{{4}})\b)?")
_DAY_MONTH = re.compile(rf"\b(?:the )?{_DAYS} ({_MONTH})\b(?: ([0-9]{{4}})\b)?")
_ISO = re.compile(r"(?<![\w-])([12][0-9]{3})-([01][0-9])-([0-3][0-9])(?![\w-])")
_SLASHES = re.compile(r"(?<![\w/.])([0-3]?[0-9])([/.])([0-3]?[0-9])\2((?:1[0-9]|20)[0-9]{2}|[0-9]{2})(?![\w/]|\.[0-9])")
_MERIDIEM = r"(?: ?([ap]) ?m\b)"
_TIME = re.compile(
    r"(?<![\w:.])([01]?[0-9]|2[0-4])"
    rf"(?::([0-5][0-9])(?::([0-5][0-9]))?{_MERIDIEM}?|\.([0-5][0-9]){_MERIDIEM}|{_MERIDIEM})(?![\w:])"
)
_END = rf"{NUMBER}(?:[.:][0-9]+)?"  # of a range
_RANGE = re.compile(rf"(?<![\w-])([$£€]?{_END}(?: ?[ap] m|bn|mn|[kmb])?[%°]?)(?:-| - )(?=[$£€]?{_END}(?![0-9]*-[0-9]))")
_ODDS = re.compile(r"(?<![\w:])([0-9]+):(?=[0-9]+(?![\w:]))")
_DIFFERENCE = re.compile(r"(?<![\w.])([0-9.]+) ?- ?(?=[0-9.]+ ?=)")
_PHONE = re.compile(
    r"(?<![\w-])(?:\+[0-9]{1,3}(?:[ .-]?\(?[0-9]{2,5}\)?){2,5}"
    r"|(?:[0-9][ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}"
    r"|[0-9]{3}-[0-9]{4}|0[0-9]{2,4}[ -][0-9]{3}[ -]?[0-9]{3,4})(?![\w-])|(?<=\bdial )[0-9]{3}\b"
    r"|(?<=\bcall )(?:911|999|112|[0-9]{3}(?! [a-z]))\b"
)


def expand_dates(text: str) -> str:
    """Write out dates, times of the day, the "to" of ranges, and telephone numbers digit by digit; "a.m." is "a m" already."""
    text = _PHONE.sub(_phone, text)
    text = _ISO.sub(lambda match: _date(int(match[2]), int(match[3]), match[1], match[0]), text)
    text = _DIFFERENCE.sub(r"\1 minus ", _SLASHES.sub(_numeric_date, text))
    text = _RANGE.sub(r"\1 to ", text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DAY_MONTH.sub(_day_month, text)
    return _ODDS.sub(r"\1 to ", _TIME.sub(_time, text))


def _phone(match: re.Match[str]) -> str:
    groups = ", ".join(map(digits, re.findall("[0-9]+", match[0])))
    return f"plus {groups}" if match[0].startswith("+") else groups


def _date(month: int, day: int, in_year: str, written: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return written
    return f"{_NAMES[month - 1]} {ordinal(day)}, {_year(in_year)}"


def _year(figures: str) -> str:
    if len(figures) == 4:
        return number(figures)
    return f"oh {digits(figures[1])}" if figures[0] == "0" else amount(figures)


def _numeric_date(match: re.Match[str]) -> str:
    """12/25/2019 has the month first, 25/12/2019 and 25.12.2019 the day."""
    first, second = int(match[1]), int(match[3])
    if match[2] == "/" and first <= 12:
        return _date(first, second, match[4], match[0])
    if not (1 <= second <= 12 and 1 <= first <= 31):
        return match[0]
    return f"the {ordinal(first)} of {_NAMES[second - 1]}, {_year(match[4])}"


def _month_day(match: re.Match[str]) -> str:
    """May 5, 2020"""
    month, day, last, in_year = match.groups()
    spoken = _days(day, last)
    return f"{MONTHS.get(month, month)} {spoken}" + (f", {number(in_year)}" if in_year else "") if spoken else match[0]


def _day_month(match: re.Match[str]) -> str:
    """5 May 2020"""
    day, last, month, in_year = match.groups()
    spoken = _days(day, last)
    return f"the {spoken} of {MONTHS.get(month, month)}" + (f" {number(in_year)}" if in_year else "") if spoken else match[0]


def _days(*days: str | None) -> str:
    """Return the days as ordinals, or "" if there is no such day."""
    values = [int(day) for day in days if day]
    return " to ".join(map(ordinal, values)) if all(1 <= value <= 31 for value in values) else ""


def _time(match: re.Match[str]) -> str:
    hour, minutes, seconds = match[1], match[2] or match[5], match[3]
    half = match[4] or match[6] or match[7]
    words = [amount(str(int(hour)))] if hour not in ("0", "00") else ["zero"]
    if minutes and minutes != "00":
        words.append(f"oh {digits(minutes[1])}" if minutes[0] == "0" else amount(minutes))
    elif not half:
        words.append("o'clock")
    if seconds:
        words.append(f"and {amount(str(int(seconds)))} second{'s' * (seconds != '01')}")
    return " ".join(words) + (f" {half} m" if half else "")
