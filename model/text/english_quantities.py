"""English sums of money and numbers with units, from figures to words. All text is in lower case."""

import re

from model.text.english_numbers import AMOUNT, amount

_COINS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₴": ("hryvnia", "hryvnias", "kopeck", "kopecks"),
    "₩": ("won", "won", "jeon", "jeon"),
    "¢": ("cent", "cents", "", ""),
    "p": ("penny", "pence", "", ""),
}
_SIGNS = "$£€¥₹₽₴₩"
_COUNTRIES = {
    "us": "u s ", "a": "australian ", "au": "australian ", "c": "canadian ", "ca": "canadian ", "hk": "hong kong ",
    "nz": "new zealand ",
}  # fmt: skip
_CODES = {"usd": ("u s ", "$"), "eur": ("", "€"), "gbp": ("", "£"), "jpy": ("", "¥"), "rub": ("", "₽"), "inr": ("", "₹")}
_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mln": "million", "bn": "billion", "b": "billion", "tn": "trillion",
}  # fmt: skip
_SCALE = rf"(?:[ -](hundred|thousand|million|billion|trillion)\b| ?({'|'.join(sorted(_SCALES, key=len, reverse=True))})\b)?"
_MONEY = re.compile(
    r"(\b(?:an?|another|every|each|the|this|that|its|his|her|their|our|my) )?(-)?"
    rf"(?:\b({'|'.join(_COUNTRIES)}))?([{_SIGNS}]) ?({AMOUNT})(?: to [{_SIGNS}]?({AMOUNT}))?{_SCALE}(?=( [a-z]+|-[a-z]+)?)"
)
_CODED = re.compile(rf"\b({'|'.join(_CODES)}) ?({AMOUNT})\b|({AMOUNT}) ?({'|'.join(_CODES)})\b")
_COINED = re.compile(rf"({AMOUNT}) ?([{_SIGNS}¢])|(?<![\w.])([0-9]{{1,2}})(p)\b")
# A word behind "a $5" that is none of these is what the money is for: "a five dollar fee".
_NO_NOUN = re.compile(
    r"[ -](?:in|of|for|to|and|or|is|was|were|are|by|on|at|an?|the|with|from|per|as|if|than|that|when|each|every|more|less|he"
    r"|she|they|we|you|i|it|which|who|has|have|had|will|would)"
)

_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "nm": "nanometer", "mi": "mile", "yd": "yard",
    "yds": "yard", "kg": "kilogram", "kgs": "kilogram", "g": "gram", "mg": "milligram", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "l": "liter", "ml": "milliliter", "cl": "centiliter", "gal": "gallon", "mph": "mile per hour",
    "km/h": "kilometer per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour", "m/s": "meter per second",
    "m/s²": "meter per second squared", "mb/s": "megabyte per second", "mbps": "megabit per second",
    "gbps": "gigabit per second", "hz": "hertz", "khz": "kilohertz",
    "mhz": "megahertz", "ghz": "gigahertz", "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "w": "watt",
    "kw": "kilowatt", "v": "volt", "kv": "kilovolt", "ma": "milliamp", "kwh": "kilowatt hour", "mwh": "megawatt hour",
    "min": "minute", "mins": "minute", "sec": "second", "secs": "second", "ms": "millisecond", "hr": "hour", "hrs": "hour",
    "h": "hour", "yr": "year", "yrs": "year", "ft": "foot", "sq ft": "square foot", "ft²": "square foot", "m²": "square meter",
    "m2": "square meter", "km²": "square kilometer", "km2": "square kilometer", "cm²": "square centimeter", "m³": "cubic meter",
    "m3": "cubic meter", "cm³": "cubic centimeter", "sq m": "square meter", "sq km": "square kilometer", "ha": "hectare",
    "°c": "degree celsius", "° c": "degree celsius", "°f": "degree fahrenheit", "° f": "degree fahrenheit", "°": "degree",
    "%": "percent", "‰": "per mille", "rpm": "revolution per minute", "db": "decibel", "psi": "p s i", "kcal": "kilocalorie",
    "cal": "calorie", "hp": "horsepower", "px": "pixel", "mp": "megapixel", "t": "ton", "kj": "kilojoule", "pct": "percent",
}  # fmt: skip
_SAME = ("percent", "per mille", "hertz", "kilohertz", "megahertz", "gigahertz", "horsepower", "p s i")
_UNIT = re.compile(
    rf"({AMOUNT})( to {AMOUNT})?( ?-?)({'|'.join(sorted(map(re.escape, _UNITS), key=len, reverse=True))})"
    r"(?![\w²³/]|'\w)(?=( [a-z]+)?)"
)
_ARTICLE = re.compile(r"\ban? $")
_FEET = re.compile(r"(?<!\w)([0-9])['’′] ?([0-9]{1,2})(?:[\"”″]|'')")


def expand_feet(text: str) -> str:
    """Write out a height such as 5'10" in feet and inches, before its quotation marks are taken for those of speech."""
    return _FEET.sub(r"\1 foot \2", text)


def expand_quantities(text: str) -> str:
    """Write out sums of money and numbers with units. `text` is in lower case."""
    text = re.sub(rf"([{_SIGNS}])(?=\.[0-9])", r"\g<1>0", text)
    text = _CODED.sub(_coded, _MONEY.sub(_money, text))
    text = _COINED.sub(lambda match: _sum(match[1] or match[3], match[2] or match[4]), text)
    text = re.sub(r"(?<![\w)])-(?=\.?[0-9])", "minus ", text)
    return _UNIT.sub(_unit, text)


def _money(match: re.Match[str]) -> str:
    article, minus, country, sign, low, high, word, suffix, noun = match.groups()
    scale = word or _SCALES.get(suffix or "")
    attributive = article and noun and not _NO_NOUN.fullmatch(noun)
    prefix = f"{article or ''}{'minus ' if minus else ''}"
    return prefix + _sum(low, sign, high, scale, _COUNTRIES.get(country or "", ""), bool(attributive))


def _coded(match: re.Match[str]) -> str:
    country, sign = _CODES[match[1] or match[4]]
    return _sum(match[2] or match[3], sign, country=country)


def _sum(
    low: str, sign: str, high: str | None = None, scale: str | None = None, country: str = "", attributive: bool = False
) -> str:
    one, many, small_one, small_many = _COINS[sign]
    whole, _, fraction = low.replace(",", "").partition(".")
    if scale or high or attributive or not small_one or (fraction and len(fraction) != 2):
        single = attributive or (low == "1" and not scale and not high)
        spoken = " to ".join(amount(each) for each in (low, high) if each)
        return " ".join(filter(None, (spoken, scale, f"{country}{one if single else many}")))
    parts = []
    cents = int(fraction or 0)
    if whole.strip("0") or not cents:
        parts.append(f"{amount(whole)} {country}{one if whole == '1' else many}")
    if cents:
        parts.append(f"{amount(str(cents))} {small_one if cents == 1 else small_many}")
    return " ".join(parts)


def _unit(match: re.Match[str]) -> str:
    low, high, joint, written, noun = match.groups()
    unit = _UNITS[written]
    spoken = amount(low) + (f" to {amount(high[4:])}" if high else "")
    if joint == "-" or (noun and _ARTICLE.search(match.string[: match.start()]) and not _NO_NOUN.fullmatch(noun)):
        return f"{spoken}-{unit}"  # a 9 V battery
    if unit in _SAME or (low == "1" and not high):
        return f"{spoken} {unit}"
    first, *rest = unit.split(" per ")
    head, tail = first.rsplit(" ", 1) if first.startswith(("square", "cubic", "kilowatt ", "megawatt ")) else ("", first)
    if first.startswith("degree"):
        head, tail, rest = "", "degrees" + first[6:], []
    elif tail == "foot":
        tail = "feet"
    else:
        tail = f"{tail}s"
    return " ".join(filter(None, (spoken, head, tail))) + (f" per {rest[0]}" if rest else "")
