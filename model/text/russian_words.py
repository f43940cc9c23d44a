"""Russian titles, streets, abbreviations and addresses that ru-normalizr lacks."""

import re

from model.text.addresses import read_addresses
from model.text.russian_cases import cardinal, inflected
from model.text.russian_government import expand_others
from model.text.russian_nouns import expand_nouns

_DAYS = {"пн": "понедельник", "вт": "вторник", "чт": "четверг", "пт": "пятница", "сб": "суббота", "вс": "воскресенье"}
_DAY = re.compile(rf"(?<![0-9] )\b((?i:{'|'.join(_DAYS)}))\.")
_TITLES = {
    "проф": "профессор", "акад": "академик", "доц": "доцент", "ген": "генерал", "инж": "инженер", "адм": "адмирал",
    "тов": "товарищ", "полк": "полковник", "кн": "князь", "свящ": "священник", "зам": "заместитель",
}  # fmt: skip
_TITLE = re.compile(rf"\b((?i:{'|'.join(_TITLES)}))\. ?(?=((?:[А-ЯЁ]\. ?)*)([А-ЯЁ][а-яё]*)( [а-яё]+ла(?:сь)?\b)?)")
_CASES = (  # the ending of a name, and the case that it mostly has
    ("ому", "datv"), ("ого", "gent"), ("ым", "ablt"), ("им", "ablt"), ("ом", "ablt"), ("ем", "ablt"), ("у", "datv"),
    ("ю", "datv"), ("е", "loct"), ("а", "gent"), ("я", "gent"),
)  # fmt: skip
_SHORT = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\b([Вв]) ?т\. ?ч\.", r"\1 том числе"),
        (r"\bи ?пр\.(?=\s+[А-ЯЁ]|\s*$)", "и прочее."), (r"\bи ?пр\.", "и прочее"), (r"\bпр\. ?(?=[А-ЯЁ])", "проспект "),
        (r"\bим\. ?(?=[А-ЯЁ])", "имени "), (r"\b([Тт]ел)\. ?", r"\1ефон "), (r"телефон :", "телефон:"),
        (r"\b[Ии]\. ?о\. (?=[а-яё])", "исполняющий обязанности "), (r"\bт\. ?н\. ?(?=[а-яё])", "так называемый "),
        (r"\b[Тт]\. ?о\. ?(?=[а-яё])", "таким образом "), (r"\b[Сс]р\. (?=[а-яёА-ЯЁ])", "сравни "), (r"№№ ?", "номера "),
        (r"# ?(?=[0-9])", "номер "), (r"§§ ?", "параграфы "),
        (r"\bт\. ?(?=[0-9])", "том "), (r"\bпод\. (?=[0-9])", "подъезд "), (r"\b[Пп]рим\. ", "примечание "),
        (r"\b[Сс]тр\. ?(?=[0-9]+ ?- ?[0-9])", "страницы "), (r"\b[Рр]ис\. ?(?=[0-9]+ ?- ?[0-9])", "рисунки "),
        (r"\bч\. ?(?=[0-9]+ ст\.)", "часть "), (r"\b1 кв\. ?м\b\.?", "1 квадратный метр"), (r"\b1[.,]5-(?=[а-яё])", "полутора"),
        (r"\bГг\. (?=[а-яё])", "Господа "), (r"(?<=[,.!?:] )гг\. (?=[а-яё])", "господа "),
        (r"(?<=[а-яёБ])/с\b", " в секунду"), (r"(?<=[а-яё])/ч\b", " в час"),
    )
)  # fmt: skip

_SIGNS = {
    ".": "точка", "@": "собака", "/": "слэш", "-": "дефис", "_": "подчёркивание", ":": "двоеточие", "?": "вопрос", "=": "равно",
}  # fmt: skip
_NAMES = {"www": "вэ вэ вэ", "mail": "мейл", "gmail": "джимейл", "com": "ком", "google": "гугл", "youtube": "ютуб"}
_SOUNDS = (
    ("sch", "щ"), ("sh", "ш"), ("ch", "ч"), ("zh", "ж"), ("kh", "х"), ("ya", "я"), ("yu", "ю"), ("yo", "ё"), ("ts", "ц"),
    ("x", "кс"),
)  # fmt: skip
_LETTERS = str.maketrans("abcdefghijklmnopqrstuvwyz", "абкдефгхийклмнопкрстуввиз")


def expand_abbreviations(text: str) -> str:
    """Write out addresses of the web, titles before names, and abbreviations."""
    text = read_addresses(text, _SIGNS, _sound)
    text = _TITLE.sub(_title, expand_nouns(expand_others(text)))
    for pattern, words in _SHORT:
        text = pattern.sub(words, text)
    text = _DAY.sub(lambda match: _DAYS[match[1].lower()], text)
    return text


def _title(match: re.Match[str]) -> str:
    """A title has the case of the name behind it, as far as the name's ending tells."""
    name = match[3]
    case = next((case for end, case in _CASES if name.endswith(end) and len(name) > len(end) + 1), "nomn")
    if case == "gent" and match[4]:  # доцент Орлова ушла
        case = "nomn"
    if case == "loct" and not re.search(r"\b(?:об?|при|на|в) $", match.string[: match.start()], re.IGNORECASE):
        case = "nomn"  # академик Тарле
    return f"{inflected(_TITLES[match[1].lower()], 'sing', case)} "


def _sound(piece: str) -> str:
    """Spell a part of an address in Russian letters."""
    if piece.isdecimal():
        return cardinal(piece)
    piece = piece.lower()
    if piece in _NAMES:
        return _NAMES[piece]
    for latin, russian in _SOUNDS:
        piece = piece.replace(latin, russian)
    return piece.translate(_LETTERS)
