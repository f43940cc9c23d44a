"""Choose the columns of a table that hold the sound and the text: as told, by their header, else by what they hold."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from unicodedata import normalize

from model.data.layouts.names import sound_column, text_columns
from model.data.layouts.rows import SAMPLE, Row, Table
from model.data.problems import CorpusError
from model.errors import BadInput

EXAMPLES = 3  # shown of each column
SHOWN = 60  # characters of each example
RARE = 0.02  # share of the lines that have a column: below, it comes from a delimiter inside a text
SAME_TEXT = 0.4  # share of their words that a raw text and its normalised form have in common; a translation has 0.1


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what, from 0."""

    sound: int
    texts: tuple[int, ...]  # the first that is not empty in a line is read


def told(setting: str) -> tuple[str, str]:
    """Return the two columns that `data.columns` names, sound and text: `1,3` or `path,sentence`. Raises BadInput."""
    names = [name.strip() for name in setting.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        rule = f"need two columns, the sound's and the text's, by number from 1 or by name, got {setting!r}"
        raise BadInput(f"{rule}: write for example 1,3 or path,sentence")
    return names[0], names[1]


def choose(table: Table, is_sound: Callable[[str], bool], setting: str | None, name: str) -> Columns:
    """Choose the columns of the list `name`. Raises CorpusError where that cannot be decided."""
    header, rows = table.header or (), table.rows
    if setting is not None:
        places = [_place(column, table, setting, name) for column in told(setting)]
        return Columns(places[0], (places[1],))
    sample = [row.cells for row in rows[:: max(1, len(rows) // SAMPLE)]]
    width = max((len(cells) for cells in sample), default=0)
    if width < 2:
        return Columns(0, (1,))  # each line is a problem of its own
    sound = sound_column(header) if header else None
    if sound is None:
        sounds = [sum(column < len(cells) and is_sound(cells[column]) for cells in sample) for column in range(width)]
        sound = sounds.index(max(sounds))
    texts = tuple(column for column in text_columns(header) if column != sound)
    texts = texts or _by_content(rows, sound, is_sound)
    if not texts:
        raise CorpusError(_undecided(table, name))
    return Columns(sound, texts)


def examples(rows: Sequence[Row], columns: Sequence[int]) -> str:
    """Show some texts of the given columns, in quotes."""
    texts = (next((row.cells[c].strip() for c in columns if c < len(row.cells) and row.cells[c].strip()), "") for row in rows)
    shown: list[str] = []
    for text in texts:
        if text and len(shown) < EXAMPLES:
            shown.append(f'"{_printable(text)}"')
    return ", ".join(shown)


def titled(table: Table, column: int) -> str:
    """Return what a person calls a column: its name in the header, or its number."""
    if table.header and column < len(table.header) and table.header[column]:
        return repr(_printable(table.header[column]))
    return f"{column + 1} of {usual_width(table.rows)}"


def width_of(row: Row) -> int:
    """Count the columns of a row, without empty ones at its end."""
    return max((place for place, cell in enumerate(row.cells, 1) if cell.strip()), default=0)


def usual_width(rows: Sequence[Row]) -> int:
    """Return how many columns most rows have, the smaller number where two are as frequent."""
    widths = Counter(width_of(row) for row in rows)
    return min((width for width in widths if widths[width] == max(widths.values())), default=0)


def _place(column: str, table: Table, setting: str, name: str) -> int:
    """Return the place of a column that a person named."""
    width = len(table.header) if table.header else max((len(row.cells) for row in table.rows), default=0)
    if table.header and column in table.header:
        return table.header.index(column)
    if column.isdecimal() and 1 <= int(column) <= width:
        return int(column) - 1
    known = f"it has the columns {', '.join(table.header)}" if table.header else f"it has {width} columns and no header"
    raise CorpusError(f"data.columns={setting}: {name} has no column {column!r}: {known}")


def _by_content(rows: Sequence[Row], sound: int, is_sound: Callable[[str], bool]) -> tuple[int, ...]:
    """Return the columns that hold the text, the last form of it first; () where two columns could.

    Numbers have no letters, speakers and styles are one word or few different values. A column that most lines leave empty is
    read where it holds a form of the text.
    """
    width = max((len(row.cells) for row in rows), default=0)
    others = [column for column in range(width) if column != sound]
    if len(others) == 1:
        return tuple(others)
    values = {column: [row.cells[column].strip() for row in rows if column < len(row.cells)] for column in others}
    filled = {column: [value for value in values[column] if value] for column in others}
    spoken = [column for column in others if filled[column] and _share_of_texts(filled[column], is_sound) > 0.5]
    dense = [column for column in spoken if len(filled[column]) > len(rows) / 2] or spoken
    words = {column: median(len(value.split()) for value in filled[column]) for column in dense}
    if max(words.values(), default=0) >= 2:
        dense = [column for column in dense if words[column] >= 2]
    different = {column: len(set(filled[column])) / len(filled[column]) for column in dense}
    dense = [column for column in dense if 2 * different[column] > max(different.values())]
    if not dense or any(not _same_text(rows, column, dense[-1]) for column in dense[:-1]):
        return ()
    often = [column for column in spoken if len(filled[column]) > max(1, len(rows) * RARE)]
    forms = [column for column in often if _same_text(rows, column, dense[-1])]
    return tuple(reversed(forms))


def _share_of_texts(values: Sequence[str], is_sound: Callable[[str], bool]) -> float:
    sample = values[:: max(1, len(values) // SAMPLE)]
    return sum(any(map(str.isalpha, value)) and not is_sound(value) for value in sample) / len(sample)


def _same_text(rows: Sequence[Row], first: int, second: int) -> bool:
    """Tell whether two columns are forms of one text: they share words, whatever numbers, stress marks and case do."""
    both = [row.cells for row in rows if max(first, second) < len(row.cells)]
    pairs = [(_words(cells[first]), _words(cells[second])) for cells in both[:: max(1, len(both) // SAMPLE)]]
    shares = [len(one & other) / min(len(one), len(other)) for one, other in pairs if one and other]
    return not shares or sum(shares) / len(shares) >= SAME_TEXT


def _words(text: str) -> set[str]:
    plain = re.sub(r"[\u0300-\u036f+]", "", normalize("NFD", text.casefold()))
    return set(re.findall(r"\w+", plain))


def _undecided(table: Table, name: str) -> str:
    width = max((len(row.cells) for row in table.rows), default=0)
    rows = [f"cannot tell which column of {name} holds the texts: name sound and text, for example --set data.columns=1,2"]
    rows += [f"  column {titled(table, column)}: {examples(table.rows, (column,)) or 'empty'}" for column in range(width)]
    if table.header:
        rows.append("  or give them names that are known in the first line, such as path and text")
    return "\n".join(rows)


def _printable(text: str) -> str:
    text = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return text.encode("utf-8", "replace").decode()
