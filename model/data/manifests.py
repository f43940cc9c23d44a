"""Read lists of recordings with their texts: LJSpeech's `metadata.csv`, NVIDIA's `path|text` lists, and csv with a header.

A list is read line by line; a line that cannot be read becomes a Problem with its number and never shifts the others.
"""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from model.data.problems import CorpusError, Problem

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LIST_SUFFIXES = (".csv", ".txt", ".tsv")
SOUND_COLUMNS = ("path", "file", "audio", "wav", "audio_path", "audio_file", "file_name", "filename", "wav_filename")
TEXT_COLUMNS = ("normalized_text", "text", "transcript", "sentence")  # the first one in a header is used
BOM = "\ufeff"
DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}


@dataclass(frozen=True, slots=True)
class Line:
    """One recording of a list, with its text."""

    number: int  # in the list file, from 1
    id: str  # the sound's name as listed, without its suffix
    audio: Path  # may not exist
    text: str  # NFC, stripped, not empty


@dataclass(frozen=True, slots=True)
class Manifest:
    """A list that was read: its recordings, the lines left out, and remarks, a sentence each."""

    path: Path
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """One line, split into its columns but not yet checked."""

    number: int
    name: str  # the sound's, as listed
    text: str


def read(path: Path) -> Manifest:
    """Read the list at `path`, or the only one in the folder `path`. Raises CorpusError where none can be read."""
    path, remarks = _find(path)
    text = _decode(path)
    if text.startswith(BOM):
        remarks.append(f"{path.name} starts with a byte order mark, which was skipped")
        text = text.removeprefix(BOM)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    header = _header(text)
    rows = _table(text, *header) if header else _pipes(text, path, remarks)
    lines: list[Line] = []
    problems: list[Problem] = []
    seen: dict[str | Path, int] = {}
    for row in rows:
        line = _checked(row, path.parent, seen)
        if isinstance(line, Line):
            lines.append(line)
        else:
            problems.append(line)
    if not lines and not problems:
        raise CorpusError(f"{path} holds no line: need lines such as wavs/1.wav|Text of the recording.")
    return Manifest(path, tuple(lines), tuple(problems), tuple(remarks))


def _find(path: Path) -> tuple[Path, list[str]]:
    """Return the list that `path` names or holds, with remarks on how it was chosen."""
    if not path.exists():
        raise CorpusError(f"no such folder or list: {path.absolute()}")
    if not path.is_dir():
        return path, []
    lists = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in LIST_SUFFIXES and entry.is_file())
    if not lists:
        found = "is empty" if not any(path.iterdir()) else "holds none"
        raise CorpusError(f"need a list of recordings (metadata.csv, *.csv, *.tsv, *.txt) in {path.absolute()}, which {found}")
    names = ", ".join(entry.name for entry in lists)
    if len(lists) == 1:
        return lists[0], []
    if (path / "metadata.csv") in lists and (path / "wavs").is_dir():
        return path / "metadata.csv", [f"metadata.csv was chosen from {names} in {path}"]
    raise CorpusError(f"{path} holds {len(lists)} lists ({names}): give the one to read instead of the folder")


def _decode(path: Path) -> str:
    """Return the file's text; bytes that are not UTF-8 become lone surrogates, which their line reports."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise CorpusError(f"{path} is UTF-16: save it as UTF-8, for example iconv -f utf-16 -t utf-8")
    if b"\0" in content:
        raise CorpusError(f"{path} holds zero bytes, so it is no text: give a list of recordings, not a recording")
    return content.decode("utf-8", "surrogateescape")


def _header(text: str) -> tuple[str, int, int, int] | None:
    """Return (delimiter, sound column, text column, number of columns) if the first line is a header, else None."""
    first = text.lstrip("\n").split("\n", 1)[0]
    for delimiter in ",;\t|":
        columns = [column.strip().lower() for column in next(csv.reader([first], delimiter=delimiter), [])]
        sound = next((columns.index(name) for name in SOUND_COLUMNS if name in columns), None)
        spoken = next((columns.index(name) for name in TEXT_COLUMNS if name in columns), None)
        if sound is not None and spoken is not None:
            return delimiter, sound, spoken, len(columns)
    return None


def _table(text: str, delimiter: str, sound: int, spoken: int, columns: int) -> Iterator[_Row | Problem]:
    """Yield the rows of a csv with a header. A quote that is not closed in its field costs all lines that it spans."""
    rows = csv.reader(
        StringIO(text), delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    )
    header_read = False
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
        if not any(cell.strip() for cell in row):
            continue
        if not header_read:
            header_read = True
        elif len(row) != columns:
            way_out = "quote texts that contain it" if len(row) > columns else "is that the delimiter of this line?"
            yield Problem(first, "", "wrong columns", f"{len(row)} by {delimiter!r}, the header has {columns}: {way_out}")
        else:
            yield _Row(first, row[sound], row[spoken])


def _pipes(text: str, path: Path, remarks: list[str]) -> Iterator[_Row | Problem]:
    """Yield the rows of `path|text`, or of LJSpeech's `id|raw|normalised`, whose ids have no suffix of a sound file."""
    ignored = 0
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.split("|")
        is_path = columns[0].strip().lower().endswith(SOUND_SUFFIXES)
        if not line.strip():
            continue
        if len(columns) == 1:
            others = " and ".join(name for delimiter, name in DELIMITERS.items() if delimiter in line) or "nothing else"
            way_out = "write | between file and text, or a first line that names the columns, such as path,text"
            yield Problem(number, "", "wrong delimiter", f"found no | but {others}: {way_out}")
        elif is_path:
            ignored += len(columns) > 2
            yield _Row(number, columns[0], columns[1])
        elif len(columns) > 3:
            yield Problem(number, "", "wrong columns", f"{len(columns)} by |, need id|text or id|raw text|normalised text")
        else:
            yield _Row(number, columns[0], columns[-1] if columns[-1].strip() else columns[1])
    if ignored:
        remarks.append(f"{path.name}: columns after file|text are ignored, {ignored} lines have them")


def _checked(row: _Row | Problem, folder: Path, seen: dict[str | Path, int]) -> Line | Problem:
    """Check a row and find its sound file. `seen` maps the ids and sound files so far to their lines."""
    if isinstance(row, Problem):
        return row
    name, text = row.name.strip().replace("\\", "/"), normalize("NFC", row.text.strip())
    listed = normalize("NFC", str(PurePosixPath(name)))
    id = listed.rpartition(".")[0] if listed.lower().endswith(SOUND_SUFFIXES) else listed
    if foreign := re.search("[\udc80-\udcff]", name + text):
        way_out = "save the list as UTF-8, for example iconv -f cp1251 -t utf-8"
        shown = id.encode("utf-8", "replace").decode()
        return Problem(row.number, shown, "not UTF-8", f"byte 0x{ord(foreign[0]) - 0xDC00:02x}: {way_out}")
    if BOM in name + text:
        way_out = "it belongs at the start of a file, so two lists were concatenated here: delete it"
        return Problem(row.number, id.replace(BOM, ""), "byte order mark", way_out)
    if not name:
        return Problem(row.number, "", "no file name")
    if not text:
        return Problem(row.number, id, "empty text")
    audio = _resolve(name, folder)
    if id in seen:
        return Problem(row.number, id, "duplicate id", f"line {seen[id]} has the same id")
    if audio in seen:
        return Problem(row.number, id, "same sound twice", f"line {seen[audio]} has the same file")
    seen[id] = seen[audio] = row.number
    return Line(row.number, id, audio, text)


def _resolve(name: str, folder: Path) -> Path:
    """Return the file that a list in `folder` names: next to the list, in `wavs/`, or relative to a folder above.

    If there is no such file, return the path where it should be.
    """
    is_path = name.lower().endswith(SOUND_SUFFIXES)
    files = [name] if is_path else [f"wavs/{name}{suffix}" for suffix in SOUND_SUFFIXES]
    places = (folder, folder / "wavs", *folder.absolute().parents) if is_path else (folder,)
    for place in places:
        for file in files:
            for spelling in (file, normalize("NFC", file), normalize("NFD", file)):  # macOS decomposes file names
                if os.path.isfile(place / spelling):  # unlike Path.is_file, False for names that are too long
                    return place / spelling
    return folder / files[0]
