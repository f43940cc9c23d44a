"""Read the rows of a list, whatever its format: `|`, tabs, semicolons, commas, Kaldi's first word, or JSON.

A line that cannot be read becomes a Problem with its number and never shifts the others.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from model.data.layouts.names import sound_column, text_columns
from model.data.problems import CorpusError, Problem

BOM = "\ufeff"
DELIMITERS = {"|": "|", "\t": "tabs", ";": "semicolons", ",": "commas", " ": "a space"}
SAMPLE = 60  # rows by which a format is recognised, spread over the list


@dataclass(frozen=True, slots=True)
class Row:
    """One line, split into its columns but not yet checked."""

    number: int  # in the list file, from 1
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A list, split into rows. `problems` are lines that could not be split."""

    delimiter: str  # one of DELIMITERS; "" in JSON
    header: tuple[str, ...] | None  # the names of the columns
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


def decode(path: Path) -> tuple[str, list[str]]:
    """Return a list's text, with remarks. Bytes that are not UTF-8 become lone surrogates, which their line reports.

    UTF-16 is read if it has a byte order mark, as Excel and PowerShell write it. Raises CorpusError for a file that is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    way_out = "save it as UTF-8, for example iconv -f"
    remarks = []
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path} is UTF-16 with damaged bytes ({error.reason}): {way_out} utf-16 -t utf-8") from error
        remarks.append(f"{path.name} is UTF-16")
    elif b"\0" in content and (0 not in content[::2] or 0 not in content[1::2]):  # English letters: every second byte is zero
        order = "le" if 0 not in content[::2] else "be"
        raise CorpusError(f"{path} is UTF-16 without a byte order mark: {way_out} utf-16{order} -t utf-8")
    else:
        text = content.decode("utf-8", "surrogateescape")
    if text.startswith(BOM):
        remarks.append(f"{path.name} starts with a byte order mark, which was skipped")
        text = text.removeprefix(BOM)
    if "\0" in text:
        raise CorpusError(f"{path} holds zero bytes, so it is no text: give a list of recordings, not a recording")
    return text.replace("\r\n", "\n").replace("\r", "\n"), remarks


def split(text: str, is_sound: Callable[[str], bool], delimiter: str | None = None) -> Table:
    """Split a list into rows. `is_sound` tells whether a cell names a sound, by which a delimiter is found if none is given."""
    if text.lstrip()[:1] in ("{", "[") and (table := _json(text)):
        return table
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines[first].lower().startswith("sep=") and lines[first][4:].strip(" ") in (*DELIMITERS, ""):  # written by Excel
        delimiter = lines[first][4:5] or None
        lines[first] = ""
        first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    named = next((mark for mark in ",;\t|" if _is_header(_cells(lines[first], mark))), None)
    filled = [line for line in lines if line.strip()]
    delimiter = delimiter or named or _delimiter(filled[:: max(1, len(filled) // SAMPLE)], is_sound)
    rows, problems = _split(lines, delimiter)
    header = None
    if rows and (named == delimiter or _is_header_of_unknown_names([row.cells for row in rows], is_sound)):
        header = tuple(cell.strip() for cell in rows[0].cells)
    return Table(delimiter, header, tuple(rows[1:] if header else rows), tuple(problems))


def _is_header(cells: Sequence[str]) -> bool:
    return sound_column(cells) is not None and bool(text_columns(cells))


def _is_header_of_unknown_names(rows: Sequence[Sequence[str]], is_sound: Callable[[str], bool]) -> bool:
    """Tell whether the first row has no sound, though the others have one in the same column.

    It could be a line whose recording is missing: names are short and, unlike those of recordings, have no digits.
    """
    first, sample = rows[0], rows[1 :: max(1, len(rows) // SAMPLE)]
    named = all(cell.strip() and len(cell.split()) <= 3 and not re.search(r"\d", cell) for cell in first)
    columns = (column for column in range(len(first)) if _share(sample, column, is_sound) > 0.5)
    return len(first) > 1 and named and any(not is_sound(first[column]) for column in columns)


def _share(rows: Sequence[Sequence[str]], column: int, is_sound: Callable[[str], bool]) -> float:
    return sum(column < len(cells) and is_sound(cells[column]) for cells in rows) / max(1, len(rows))


def _delimiter(lines: Sequence[str], is_sound: Callable[[str], bool]) -> str:
    """Return the delimiter of a list without a known header: `|` if lines have it, else one that separates sounds."""
    if 2 * sum("|" in line for line in lines) >= len(lines):
        return "|"
    for delimiter in list(DELIMITERS)[1:]:
        rows = [cells for line in lines if len(cells := _cells(line, delimiter)) > 1]
        columns = range(1 if delimiter == " " else max((len(cells) for cells in rows), default=0))
        if 2 * len(rows) >= len(lines) and any(_share(rows, column, is_sound) > 0.5 for column in columns):
            return delimiter
    return "|"


def _cells(line: str, delimiter: str) -> list[str]:
    """Split one line: in quotes by the rules of csv where they are kept, else at every delimiter."""
    if delimiter == " ":
        return line.split(maxsplit=1)
    if delimiter != "|" and '"' in line:  # `"` in a text of Common Voice is a letter; Excel quotes cells that contain a tab
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            pass
    return line.split(delimiter)


def _split(lines: Sequence[str], delimiter: str) -> tuple[list[Row], list[Problem]]:
    if delimiter in ";,":
        read = list(_quoted(lines, delimiter))
        return [row for row in read if isinstance(row, Row)], [row for row in read if isinstance(row, Problem)]
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return [Row(number, tuple(_cells(line, delimiter))) for number, line in filled], []


def _quoted(lines: Sequence[str], delimiter: str) -> Iterator[Row | Problem]:
    """Yield the rows of a csv with quotes. A quote that is not closed in its field costs all lines that it spans."""
    rows = csv.reader(StringIO("\n".join(lines)), delimiter=delimiter, strict=True)
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            for number in range(first, rows.line_num + 1):
                yield Problem(number, "", "wrong quoting", f"{error} (lines {first} to {rows.line_num})")
            continue
        if any(cell.strip() for cell in row):
            yield Row(first, tuple(row))


def _json(text: str) -> Table | None:
    """Read one JSON object a line, as NeMo writes them, or an array of objects; None for text that is neither."""
    problems: list[Problem] = []
    objects: list[tuple[int, Any]] = []
    try:
        whole = json.loads(text)
        objects = list(enumerate(whole if isinstance(whole, list) else [whole], 1))
    except ValueError:
        for number, line in enumerate(text.split("\n"), 1):
            try:
                objects += [(number, json.loads(line))] if line.strip() else []
            except ValueError as error:
                problems.append(Problem(number, "", "wrong JSON", f"{error}: need one object a line"))
    problems += [Problem(number, "", "wrong JSON", "need an object") for number, item in objects if not isinstance(item, dict)]
    tables = [(number, item) for number, item in objects if isinstance(item, dict)]
    if len(problems) > len(tables):
        return None
    header = tuple(dict.fromkeys(str(key) for _, item in tables for key in item))
    rows = (Row(number, tuple(_as_text(item.get(key)) for key in header)) for number, item in tables)
    return Table("", header, tuple(rows), tuple(problems))


def _as_text(value: object) -> str:
    if isinstance(value, dict):  # Hugging Face: {"audio": {"path": ...}}
        value = value.get("path")
    return "" if value is None else str(value)
