"""English numbers in words: cardinals, ordinals, years, decades, fractions, and digits one by one.

All numbers are written in digits, perhaps with commas between thousands and a point before decimals.
"""

import re
from functools import lru_cache

NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
AMOUNT = rf"(?:(?<![0-9.]){NUMBER}(?:\.[0-9]+)?(?!\.?[0-9]))"

_DECADE = re.compile(rf"(?<![0-9,])'?(?<![0-9a-z,])({NUMBER})'?s\b")
_FRACTION = re.compile(r"(?<![0-9/.])(?:([0-9]+)(?: and)? )?([0-9]{1,3})/([0-9]{1,3})(?:ths?)?(?![0-9/])")
_ORDINAL = re.compile(rf"({NUMBER})(?:st|nd|rd|th)(s?)\b")
_DOTS = re.compile(rf"{NUMBER}(?:\.[0-9]+)+")
_POINT = re.compile(r"(?<![\w.])\.([0-9]+)\b")
_SPACED = re.compile(r"(?<![0-9,.])([0-9]{1,3})((?: 000)+)(?![0-9])")
_WHOLE = re.compile(rf"(?:(?<!\w)')?({NUMBER})")
_NAMED_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def expand_numbers(text: str) -> str:
    """Write out the numbers that are left when dates, times, sums and units are words. `text` is in lower case."""
    text = _SPACED.sub(lambda match: match[0].replace(" ", ","), text)
    text = _DECADE.sub(lambda match: _plural_number(match[1]), text)
    text = _FRACTION.sub(_fraction, text)
    text = _ORDINAL.sub(lambda match: _ordinal(match[1]) + match[2], text)
    text = _DOTS.sub(lambda match: _dots(match[0]), text)
    text = _POINT.sub(lambda match: f"point {digits(match[1])}", text)
    return _WHOLE.sub(lambda match: number(match[1]), text)


@lru_cache(maxsize=4096)
def _words(value: int, kind: str) -> str:
    from num2words import num2words

    return str(num2words(value, to=kind)).replace(" and ", " ").replace(",", "")


def number(figures: str) -> str:
    """Return a whole number in words; four digits without a comma, 1001 to 2999, are a year or read like one."""
    return year(figures) if len(figures) == 4 and 1000 < int(figures) < 3000 else amount(figures)


def amount(figures: str) -> str:
    """Return "1,200" or "2.5" in words, never as a year. Telephone numbers and 007 are read digit by digit."""
    whole, _, fraction = figures.replace(",", "").partition(".")
    if fraction:
        return " ".join(filter(None, (whole and amount(whole), "point", digits(fraction))))
    if len(whole) > 15 or (whole[0] == "0" and len(whole) > 1):
        return digits(whole)
    return _words(int(whole), "cardinal")


def year(figures: str) -> str:
    """Return a year of four digits in words."""
    return _words(int(figures), "year")


def ordinal(value: int) -> str:
    """Return first, second, ..."""
    return _words(value, "ordinal")


def digits(figures: str) -> str:
    """Return the digits one by one."""
    return " ".join(_words(int(digit), "cardinal") for digit in figures)


def _ordinal(figures: str) -> str:
    figures = figures.replace(",", "")
    return ordinal(int(figures)) if len(figures) <= 15 else digits(figures)


def _dots(figures: str) -> str:
    """Return 3.14, or a version such as 3.2.1, in words."""
    first, *rest = figures.split(".")
    if len(rest) == 1:
        return amount(figures)
    return " point ".join((amount(first), *(amount(part) for part in rest)))


def _plural_number(figures: str) -> str:
    """Return the plural of a decade or of another number: nineties, twenty tens, seven forty-sevens."""
    if len(figures) == 4 and figures.endswith("00"):
        words = "two thousand" if figures == "2000" else f"{_words(int(figures[:2]), 'cardinal')} hundred"
    elif len(figures) == 4:
        words = f"{_words(int(figures[:2]), 'cardinal')} {amount(figures[2:])}"
    else:
        words = amount(figures)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}es" if words.endswith("x") else f"{words}s"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match.groups()
    over, under = int(top), int(bottom)
    before = f"{amount(whole)} and " if whole else ""
    if (over, under) == (9, 11) or over >= under or under < 2:  # an event, 24/7
        return f"{amount(whole) + ' ' if whole else ''}{amount(top)} {amount(bottom)}"
    if under == 2:
        return f"{before}a half" if whole else "one half"
    one, many = _NAMED_PARTS.get(under, (ordinal(under), f"{ordinal(under)}s"))
    return f"{before}{amount(top)} {one if over == 1 else many}"
