"""Read the list of a corpus: recordings with their texts, in any layout of docs/corpora.md.

`layouts` has the parts: finding the list, splitting it into rows, choosing its columns, and finding the sounds that it names.
A line that cannot be used becomes a Problem with its number and never shifts the others.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from model.data.layouts.columns import Columns, choose, examples, titled, usual_width, width_of
from model.data.layouts.finding import Found, find, kaldi_sounds
from model.data.layouts.names import sound_column
from model.data.layouts.rows import BOM, DELIMITERS, Row, Table, decode, split
from model.data.layouts.sounds import Sounds, clean_name, without_suffix
from model.data.problems import CorpusError, Problem


@dataclass(frozen=True, slots=True)
class Line:
    """One recording of a list, with its text."""

    number: int  # in the list file, from 1
    id: str  # the sound's name as listed, without its suffix; behind its folder where there are several lists
    audio: Path  # may not exist
    text: str  # NFC, stripped, not empty
    list: str = ""  # the list file, where there are several

    @property
    def place(self) -> str:
        """The name of this line for a person."""
        return f"{self.list and f'{self.list}, '}line {self.number}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A list that was read: its recordings, the lines left out, and remarks, a sentence each."""

    path: Path
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    columns: str = ""  # of sound and text, in the form of data.columns; "" where there are none, and where books differ


def read(path: Path, columns: str | None = None) -> Manifest:
    """Read the corpus at `path`, a list or a folder. Raises CorpusError where none can be read.

    columns: the columns of sound and text, such as `1,3` or `path,sentence`; None: by their names, or by what they hold.
    """
    found = find(path)
    remarks = list(found.remarks)
    items: list[Line | Problem] = []
    seen: dict[str | Path, str] = {}  # the lines of the ids and sound files so far
    known: list[tuple[Columns, tuple[str, ...] | None]] = []
    for list_path in found.lists:
        table, sounds, said = _open(found, list_path)
        remarks += said
        book = str(list_path.relative_to(path)) if len(found.lists) > 1 else ""
        items += (replace(problem, list=book) for problem in table.problems)
        if table.rows:
            chosen = choose(table, sounds.is_sound, columns, list_path.name)
            if not found.pairs and (chosen, table.header) not in known:  # once for all books
                remarks += _remarks(table, chosen, list_path.name)
            known.append((chosen, table.header))
            items += (_checked(row, sounds, seen, book) for row in _rows(table, chosen))
    where = found.lists[0] if len(found.lists) == 1 else path
    if not items:
        raise CorpusError(f"{where} holds no line: need lines such as wavs/1.wav|Text of the recording.")
    lines = tuple(item for item in items if isinstance(item, Line))
    if lines and not any(os.path.exists(line.audio) for line in lines):
        raise CorpusError(_none_exists(where, lines, sounds))
    problems = sorted((item for item in items if isinstance(item, Problem)), key=lambda item: (item.list, item.line))
    used = {f"{chosen.sound + 1},{chosen.texts[0] + 1}" for chosen, _ in known}
    return Manifest(where, lines, tuple(problems), tuple(remarks), "" if found.pairs or len(used) > 1 else "".join(used))


def _open(found: Found, list_path: Path) -> tuple[Table, Sounds, list[str]]:
    """Return a list's rows, the sounds that it may name, and remarks."""
    if found.pairs:
        return _table_of_pairs(found, list_path), Sounds(list_path), []
    text, remarks = decode(list_path)
    paths = kaldi_sounds(list_path)
    sounds = Sounds(list_path.parent, paths)
    return split(text, sounds.is_sound, None if paths is None else " "), sounds, remarks


def _table_of_pairs(found: Found, folder: Path) -> Table:
    rows, problems = [], []
    for number, (sound, text_file) in enumerate(found.pairs, 1):
        name = sound.relative_to(folder).as_posix()
        try:
            text, _ = decode(text_file)
        except CorpusError as error:
            problems.append(Problem(number, without_suffix(name), "unreadable text", str(error)))
        else:
            rows.append(Row(number, (name, " ".join(text.split()))))
    return Table("", ("path", "text"), tuple(rows), tuple(problems))


def _remarks(table: Table, columns: Columns, name: str) -> list[str]:
    """Say which column is read, and how a first line was understood whose names are not known."""
    said = []
    if table.header and sound_column(table.header) is None:
        said.append(f"the first line of {name} is taken for the names of its columns: {', '.join(table.header)}")
    shown = examples(table.rows, columns.texts)
    return [*said, f"texts: column {titled(table, columns.texts[0])} of {name}, such as {shown}"] if shown else said


def _rows(table: Table, columns: Columns) -> Iterator[Row | Problem]:
    """Yield name and text of each row, as a Row of these two."""
    usual = usual_width(table.rows)
    written = repr(table.delimiter)
    for row in table.rows:
        cells, width = row.cells, width_of(row)
        if table.header and len(cells) != len(table.header):
            way_out = "quote texts that contain it" if len(cells) > len(table.header) else "is that the delimiter of this line?"
            found = f"{len(cells)} by {written}, the header has {len(table.header)}: {way_out}"
            yield Problem(row.number, "", "wrong columns", found)
        elif len(cells) == 1 and not table.delimiter:
            yield Problem(row.number, "", "wrong columns", "one value only: need those of a sound and of a text")
        elif len(cells) == 1:
            others = " and ".join(DELIMITERS[mark] for mark in "|\t;," if mark in cells[0]) or "nothing else"
            way_out = f"write {DELIMITERS[table.delimiter]} between file and text in each line"
            yield Problem(row.number, "", "wrong delimiter", f"found no {DELIMITERS[table.delimiter]} but {others}: {way_out}")
        elif (width > usual and max(columns.texts) == usual - 1) or len(cells) <= min(columns.texts):
            way_out = "a text cannot contain it" if width > usual else "is that the delimiter of this line?"
            yield Problem(row.number, "", "wrong columns", f"{width} by {written}, other lines have {usual}: {way_out}")
        else:
            texts = (cells[column] for column in columns.texts if column < len(cells) and cells[column].strip())
            yield Row(row.number, (cells[columns.sound] if columns.sound < len(cells) else "", next(texts, "")))


def _checked(row: Row | Problem, sounds: Sounds, seen: dict[str | Path, str], book: str) -> Line | Problem:
    """Check a row of name and text, and find its sound. `seen` maps the ids and sound files so far to their lines."""
    if isinstance(row, Problem):
        return replace(row, list=book)

    def problem(reason: str, detail: str = "", id: str = "") -> Problem:
        return Problem(row.number, id, reason, detail, book)

    name, text = row.cells[0].strip().replace("\\", "/"), normalize("NFC", row.cells[1].strip())
    id = without_suffix(clean_name(name))
    if foreign := re.search("[\udc80-\udcff]", name + text):
        way_out = "save the list as UTF-8, for example iconv -f cp1251 -t utf-8"
        shown = id.encode("utf-8", "replace").decode()
        return problem("not UTF-8", f"byte 0x{ord(foreign[0]) - 0xDC00:02x}: {way_out}", shown)
    if BOM in name + text:
        way_out = "it belongs at the start of a file, so two lists were concatenated here: delete it"
        return problem("byte order mark", way_out, id.replace(BOM, ""))
    if not name:
        return problem("no file name")
    id = f"{Path(book).parent.as_posix()}/{id}" if book else id
    if not text:
        return problem("empty text", id=id)
    audio = sounds.find(name)
    if audio is None and (several := sounds.candidates(name)):
        files = " and ".join(str(path.relative_to(sounds.folder)) for path in several[:2])
        return problem("several sounds", f"{len(several)} files have this name, such as {files}: write the path", id)
    audio = audio or sounds.missing(name)
    if id in seen:
        return problem("duplicate id", f"{seen[id]} has the same id", id)
    if audio in seen:
        return problem("same sound twice", f"{seen[audio]} has the same file", id)
    line = Line(row.number, id, audio, text, book)
    seen[id] = seen[audio] = line.place
    return line


def _none_exists(path: Path, lines: Sequence[Line], sounds: Sounds) -> str:
    """Say once that no sound was found, and what there is instead."""
    there = [file for files in sounds.index.values() for file in files]
    found = f"{sounds.folder.absolute()} holds {len(there)} sounds" + (f", such as {there[0]}" if there else "")
    way_out = "correct their names in the list" if there else "put the list beside its sounds, or into the folder above them"
    return f"none of the {len(lines)} sounds that {path} names exists, such as {lines[0].audio}; {found}: {way_out}"
