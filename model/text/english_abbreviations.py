"""English abbreviations, titles, streets, initials and Roman numerals in full words.

All of them are known by what stands next to them, capitals among it, so they come before the text is turned into lower case.
"""

import re

# A capital after an abbreviation begins a sentence only where these words follow it: "in the U.S. He left", "the U.S. Army".
_STARTS = (
    "He|She|It|They|We|You|I|The|This|That|These|Those|There|Here|Then|Now|But|And|Or|So|Yet|If|When|While|After|Before|Since"
    "|As|At|In|On|By|For|From|With|To|Of|His|Her|Its|Their|Our|My|Your|A|An|All|Some|Many|Most|No|Not|What|Who|Why|How|Where"
)
_SENTENCE_END = rf"\s*$|['\")\]]*\s+(?:{_STARTS})\b"  # what follows a dot that also ends a sentence
_CAPITAL = rf"(?= ?(?!(?:{_STARTS})\b)[A-Z])"

_TITLES = {
    "mr": "mister", "mrs": "misess", "ms": "ms", "dr": "doctor", "drs": "doctors", "st": "saint", "maj": "major",
    "gen": "general", "rev": "reverend", "lt": "lieutenant", "hon": "honorable", "sgt": "sergeant", "capt": "captain",
    "col": "colonel", "ft": "fort", "prof": "professor", "mt": "mount", "cpl": "corporal", "pvt": "private",
    "cmdr": "commander",
    "supt": "superintendent", "insp": "inspector", "messrs": "messieurs", "gov": "governor", "sen": "senator",
}  # fmt: skip
_LINKS = {
    "vs": "versus", "approx": "approximately", "cf": "compare", "viz": "namely", "e.g": "for example", "i.e": "that is",
    "tel": "telephone", "ext": "extension",
}  # fmt: skip
_RANKS = {"rep": "representative", "pres": "president", "adm": "admiral", "fr": "father", "sr": "sister", "det": "detective"}
_STREETS = {
    "st": "street", "dr": "drive", "ave": "avenue", "blvd": "boulevard", "rd": "road", "hwy": "highway", "ln": "lane",
    "pl": "place", "sq": "square", "pkwy": "parkway", "ct": "court",
}  # fmt: skip
_SHORT = {
    "co": "company", "jr": "junior", "sr": "senior", "esq": "esquire", "ltd": "limited", "etc": "et cetera",
    "inc": "incorporated", "corp": "corporation", "bros": "brothers", "dept": "department", "govt": "government",
    "al": "al", "assn": "association", "ave": "avenue", "blvd": "boulevard", "ibid": "ibidem",
}  # fmt: skip
_NUMBERED = {
    "no": "number", "nos": "numbers", "vol": "volume", "vols": "volumes", "ch": "chapter", "chs": "chapters", "p": "page",
    "pp": "pages", "fig": "figure", "figs": "figures", "sec": "section", "art": "article", "op": "opus", "pt": "part",
    "c": "circa", "ca": "circa", "apt": "apartment", "rm": "room", "v": "version", "eq": "equation", "bk": "book",
    "est": "established",
}  # fmt: skip
MONTHS = {
    "jan": "january", "feb": "february", "mar": "march", "apr": "april", "may": "may", "jun": "june", "jul": "july",
    "aug": "august", "sep": "september", "sept": "september", "oct": "october", "nov": "november", "dec": "december",
}  # fmt: skip
_DAYS = {"mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday", "thurs": "thursday"}
_DAYS |= {"fri": "friday", "sat": "saturday", "sun": "sunday"}

_TITLE = re.compile(rf"\b(?!(?<=[0-9] )[Ff]t)((?i:{'|'.join(_TITLES)}))(?:\.(?!\s*$)|(?=\.)) ?(?=(\S)?)")
_RANK = re.compile(rf"\b({'|'.join(map(str.capitalize, _RANKS))})\. ?{_CAPITAL}")
_STREET = re.compile(
    rf"(\b(?!(?:{_STARTS}|Near|Mr|Mrs|Dr)\b)(?:[A-Z][a-z]+|[0-9]+(?:st|nd|rd|th))) ({'|'.join(map(str.capitalize, _STREETS))})"
    rf"(?:(\.)(?=\s*$|\s+(?:{_STARTS})\b)|\.(?=,|;| [a-z0-9])|(?=,|;|$))"
)
_LINK = re.compile(rf"(?<![\w.])((?i:{'|'.join(map(re.escape, _LINKS))}))(?:\.(?!\s*$)|(?=\.)) ?(?=(\S)?)")
_SHORTENED = re.compile(rf"(?<![\w.])((?i:{'|'.join(map(re.escape, _SHORT))}))(?:\.(?!\s*$|\s+[A-Z])|(?=\.)(?!\.\w))")
_NAMED = re.compile(rf"(?<![\w.])({'|'.join(_NUMBERED)})\. ?(?=[0-9]|(?<!no\.)(?<!no\. )[IVXL]+\b)", re.IGNORECASE)
_MONTH = re.compile(rf"\b({'|'.join(name.capitalize() for name in MONTHS if name != 'may')})\.(?=,? [0-9]|,| [a-z])")
_DAY = re.compile(
    rf"\b({'|'.join(map(str.capitalize, _DAYS))})\.(?=[,;]| [A-Z][a-z]+\.? [0-9]| [a-z0-9])"
    r"|\b(Mon|Tues?|Wed|Thurs?|Fri)(?=\.\s*$)"
)
_UNIT = re.compile(r"(?<=[0-9] )(lbs?|oz|ft|min|mins|secs?|hrs?|yrs?|mi|yds?|gal|sq\. ?ft|sq\. ?m)\.(?=[,;]| [a-z0-9])")
_LETTERS = re.compile(r"\b([A-Z]{1,3})&([A-Z]{1,2})(?=\b(?!&))")  # AT&T, Q&A
_VERSUS = re.compile(r"\bv\. ?(?=[A-Z])")
_MILLIONS = re.compile(r"(?<=[0-9])M\b")  # 5 M are metres
_GENERATION = re.compile(r"(?<=\b[2-6])G\b")  # 5G is no weight

_CLOCK = re.compile(
    r"(?<=[0-9])( ?)([AaPp])\.? ?[Mm]\b(\.?)(?=(\s*$|\s+(?!(?:[MTWFS][a-z]+day|E[DS]T|P[DS]T|GMT|UTC)\b)[A-Z])?)"
)
_DOTTED = re.compile(rf"(?<![\w.])((?:[A-Za-z]\.){{2,}}|Ph\.D\.|[MB]\.?Sc\.)(?=({_SENTENCE_END})?)")
_CHAIN = re.compile(r"(?<![\w.'])((?:[A-Z]\. ?)+)(?=[A-Z][\w'])|(?<![\w.'])([A-HJ-Z]\. )(?=[a-z])")
_NO_NAME = re.compile(
    r"(?i:\b(?:plan|vitamins?|hepatitis|section|part|type|class|grade|exhibit|group|team|figure|block|side|and|or))\s$"
)

_ROMAN = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_COUNTED = re.compile(
    r"\b((?i:chapter|part|act|scene|book|volume|section|article|title|appendix|phase|type|class|level|world war|super bowl"
    r"|figure|table|canto|psalm|stage|grade|mark|schedule|number|lesson|round|apollo|page|war))s?"
    rf" ({_ROMAN}|[ivx]{{2,}})(?![\w'])"
)
_REIGNS = (
    "Henry|Edward|George|William|James|Charles|Richard|John|Paul|Louis|Philip|Francis|Frederick|Elizabeth|Mary|Catherine|Peter"
    "|Alexander|Nicholas|Ivan|Pius|Leo|Gregory|Benedict|Innocent|Clement|Urban|Otto|Napoleon|Ferdinand|Robert|David|Ramses"
    "|Rameses|Leopold|Umberto|Victor|Emmanuel|Gustav|Christian|Wilhelm|Haakon|Harald|Olaf|Margaret|Isabella|Alfonso|Juan|Carlos"
    "|Constantine|Justinian|Darius|Xerxes|Ptolemy|Julius|Sixtus|Boniface|Celestine|Adrian|Stephen|Joseph|Maximilian|Mehmed"
    "|Murad|Selim|Suleiman|Albert|Baldwin|Michael|Romanus|Basil|Theodosius"
)
_RULER = re.compile(rf"\b({_REIGNS})((?:'s)?) ({_ROMAN})(?!\w|'(?!s\b))")
_AFTER_RULER = re.compile(r"\s*(?:[,.;:)]|of\b|was\b|is\b|had\b|and\b|$)")
_MIDDLE = re.compile(rf"\b({_REIGNS}) ([IVXL])\.{_CAPITAL}")
_RANKED = re.compile(r"\b(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Sultan|Prince|Duke|Shah)\s+(?:\w+\s+)?$")
_CENTURY = re.compile(rf"\b({_ROMAN})(?:th)?(?= (?:century|centuries|dynasty|legion|corps)\b)|\b({_ROMAN})th\b")
_BARE = re.compile(r"(?<![\w.'-])(?<!\ban )((?:X{1,3}|XL|L)?(?:I{2,3}|IV|VI{1,3}|IX)|X{2,3}|X[VI])(?![\w.'-]|\.\w)")


def expand_abbreviations(text: str) -> str:
    """Write out abbreviations, titles, streets, initials and Roman numerals (as digits, with "th" where they are ordinals)."""
    text = _CLOCK.sub(_clock, text)
    text = _UNIT.sub(lambda match: match[1].replace(".", ""), text)
    text = _VERSUS.sub("versus ", _MILLIONS.sub(" million", _GENERATION.sub(" gee", text)))
    text = _LETTERS.sub(lambda match: f"{' '.join(match[1])} and {' '.join(match[2])}", text)
    text = _NAMED.sub(lambda match: f"{_NUMBERED[match[1].lower()]} ", text)
    text = _MONTH.sub(lambda match: MONTHS[match[1].lower()], text)
    text = _DAY.sub(lambda match: _DAYS[(match[1] or match[2]).lower()], text)
    text = _STREET.sub(lambda match: f"{match[1]} {_STREETS[match[2].lower()]}{match[3] or ''}", text)
    text = _TITLE.sub(lambda match: _before(match, _TITLES), _LINK.sub(lambda match: _before(match, _LINKS), text))
    text = _RANK.sub(lambda match: f"{_RANKS[match[1].lower()]} ", text)
    text = _SHORTENED.sub(lambda match: _SHORT[match[1].lower()], text)
    return _CHAIN.sub(_initials, _expand_romans(_DOTTED.sub(_dotted, text)))


def _before(match: re.Match[str], words: dict[str, str]) -> str:
    """An abbreviation before a word loses its dot, and never the space behind it, which may be missing: "Mr.Smith"."""
    return words[match[1].lower()] + (" " if match[2] and match[2] not in ".,;:!?)" else "")


def _clock(match: re.Match[str]) -> str:
    """A dot after "p.m" is kept where a sentence ends."""
    return f" {match[2].lower()} m" + ("." if match[3] and match[4] is not None else "")


def _dotted(match: re.Match[str]) -> str:
    letters = " ".join(match[1].replace(".", "").lower())
    return letters + ("." if match[2] is not None else "")


def _initials(match: re.Match[str]) -> str:
    """A single letter with a dot before a name is an initial, unless it ends a sentence: "Plan B. Then"."""
    before, letters = match.string[: match.start()], match[1] or match[2]
    single = letters.count(".") == 1 and match[1]
    if single and (letters.startswith("I.") or _NO_NAME.search(before)):
        return letters
    return " ".join(letters.replace(".", " ").split()) + " "


def _expand_romans(text: str) -> str:
    text = _COUNTED.sub(lambda match: match[0][: match.start(2) - match.start()] + str(_value(match[2].upper())), text)
    text = _CENTURY.sub(lambda match: f"{_ordinal(match[1] or match[2])}", text)
    text = _RULER.sub(_ruler, _MIDDLE.sub(_middle, text))
    return _BARE.sub(lambda match: str(_value(match[1])), text)


def _middle(match: re.Match[str]) -> str:
    """A letter with a dot between two names is an initial, unless a title stands before: "Robert I. Bouck"."""
    return match[0] if _RANKED.search(match.string[: match.start()]) else f"{match[1]} {match[2]}"


def _ruler(match: re.Match[str]) -> str:
    """A single letter after a name is a number only after a title, or where the sentence goes on without a verb."""
    rest = match.string[match.end() :]
    sure = len(match[3]) > 1 or _RANKED.search(match.string[: match.start()])
    if not sure and not _AFTER_RULER.match(rest):
        return match[0]
    return f"{match[1]}{match[2]} the {_ordinal(match[3])}"


def _ordinal(roman: str) -> str:
    value = _value(roman)
    ending = "th" if 10 <= value % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def _value(roman: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in roman]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))
