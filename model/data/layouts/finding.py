"""Find what a folder holds: a list, a list in each of several books, Kaldi's two lists, or a text file for each sound."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.layouts.rows import decode
from model.data.layouts.sounds import Sounds, clean_name, files_below, suffix_of, without_suffix
from model.data.problems import CorpusError

LIST_SUFFIXES = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".psv")
PREFERRED = ("metadata.csv", "validated.tsv")  # LJSpeech and its kin; Common Voice
TRANSCRIPTS = (".normalized.txt", ".txt", ".lab")  # of one sound each, the preferred one first: LibriTTS; VCTK and many
MICROPHONES = re.compile(r"_mic[12]$")  # VCTK: one text for two recordings of it
LINES_LOOKED_AT = 20  # of a file, to see whether it is a list of sounds


@dataclass(frozen=True, slots=True)
class Found:
    """The lists, or pairs of files, that hold the texts of a corpus."""

    lists: tuple[Path, ...]  # several for several books; the folder of `pairs`
    pairs: tuple[tuple[Path, Path], ...] = ()  # sounds, each with the file that holds its text
    remarks: tuple[str, ...] = ()


def find(path: Path) -> Found:
    """Find what holds the texts of the corpus `path`, a list or a folder. Raises CorpusError where nothing or too much does."""
    if not path.exists():
        raise CorpusError(f"no such folder or list: {path.absolute()}")
    folder = path if path.is_dir() else path.parent
    if path in (folder, folder / "text", folder / "wav.scp") and _is_kaldi(folder):
        return Found((folder / "text",))
    if path != folder:
        return Found((path,))
    lists = _lists_in(folder)
    for name in PREFERRED:
        if folder / name in lists:
            return Found((folder / name,), remarks=_chosen(folder / name, lists))
    sounds = Sounds(folder)
    lists = [entry for entry in lists if not _is_transcript(entry, sounds)]
    naming = lists if len(lists) == 1 else [entry for entry in lists if _names_sounds(entry, sounds)]
    if len(naming) == 1 and _names_sounds(naming[0], sounds):
        return Found((naming[0],), remarks=_chosen(naming[0], lists))
    if len(naming) > 1:
        raise CorpusError(_several(folder, naming))
    if found := _pairs(folder) or _books(folder):
        return found
    if len(lists) == 1:
        return Found((lists[0],))
    if lists:
        raise CorpusError(_several(folder, lists))
    raise CorpusError(_nothing(folder, sounds))


def _is_kaldi(folder: Path) -> bool:
    return (folder / "wav.scp").is_file() and (folder / "text").is_file()


def kaldi_sounds(text: Path) -> dict[str, str] | None:
    """Return the sound of each id by the `wav.scp` beside Kaldi's `text`; None for another list.

    Raises CorpusError where it holds commands, or recordings that `segments` cuts into utterances.
    """
    if text.name != "text" or not _is_kaldi(text.parent):
        return None
    way_out = "write each utterance into a sound file of its own"
    if (text.parent / "segments").is_file():
        raise CorpusError(f"{text.parent} cuts its recordings by the file segments, which is not read: {way_out}")
    rows = (line.split(maxsplit=1) for line in decode(text.with_name("wav.scp"))[0].split("\n"))
    sounds = {row[0]: row[1].strip() for row in rows if len(row) == 2}
    if command := next((sound for sound in sounds.values() if sound.endswith("|")), None):
        raise CorpusError(f"{text.parent / 'wav.scp'} holds commands, such as {command!r}, which are not run: {way_out}")
    return sounds


def _lists_in(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))  # macOS leaves ._metadata.csv
    return sorted(entry for entry in entries if entry.suffix.lower() in LIST_SUFFIXES and entry.is_file())


def _chosen(chosen: Path, lists: Sequence[Path]) -> tuple[str, ...]:
    names = ", ".join(entry.name for entry in lists)
    return (f"{chosen.name} was chosen from {names} in {chosen.parent}",) if len(lists) > 1 else ()


def _several(folder: Path, lists: Sequence[Path]) -> str:
    shown = ", ".join(entry.name for entry in lists[:5]) + (", ..." if len(lists) > 5 else "")
    return f"{folder} holds {len(lists)} lists ({shown}): give the one to read instead of the folder"


def _nothing(folder: Path, sounds: Sounds) -> str:
    count = sum(map(len, sounds.index.values()))
    found = f"holds none, but {count} sounds" if count else "holds none" if any(folder.iterdir()) else "is empty"
    above = next((name for name in PREFERRED if (folder.absolute().parent / name).is_file()), None)
    way_out = f": give the folder above, which has {above}" if above else ""
    rule = "need a list of recordings (metadata.csv, *.csv, *.tsv, *.txt, *.json), or a .txt for each sound, in"
    return f"{rule} {folder.absolute()}, which {found}{way_out}"


def _names_sounds(entry: Path, sounds: Sounds) -> bool:
    """Tell whether one of the first lines of a file names a sound that exists."""
    try:
        text, _ = decode(entry)
    except CorpusError:
        return False
    for line in text.split("\n", LINES_LOOKED_AT)[:LINES_LOOKED_AT]:
        cells = re.split(r'[|\t;,"]+', line)
        words = [*cells, *line.split()[:2]] if len(line) < 2_000 else []
        if any(len(word) < 250 and word.strip() and sounds.find(word) for word in words):
            return True
    return False


def _is_transcript(entry: Path, sounds: Sounds) -> bool:
    return bool((stem := _stem(entry)) and stem.casefold() in sounds.index)


def _stem(text_file: Path) -> str:
    """Return the name of the sound that a text file belongs to: `1.normalized.txt` -> `1`; "" for other files."""
    suffix = next((suffix for suffix in TRANSCRIPTS if text_file.name.lower().endswith(suffix)), "")
    return clean_name(text_file.name[: -len(suffix)]) if suffix else ""


def _books(folder: Path) -> Found | None:
    """Find a list in each of several folders below, as M-AILABS has them."""
    lists = []
    for place in sorted({file.parent for file in files_below(folder) if file.suffix.lower() in LIST_SUFFIXES} - {folder}):
        own, sounds = _lists_in(place), Sounds(place)
        naming = [place / name for name in PREFERRED if place / name in own][:1]
        naming = naming or [entry for entry in own if _names_sounds(entry, sounds)]
        if len(naming) > 1:
            raise CorpusError(_several(place, naming))
        lists += naming
    names = ", ".join(str(entry.relative_to(folder)) for entry in lists[:5]) + (", ..." if len(lists) > 5 else "")
    return Found(tuple(lists), remarks=(f"{len(lists)} lists are read: {names}",)) if lists else None


def _pairs(folder: Path) -> Found | None:
    """Find a text file for most sounds, beside them or in a tree of the same shape (VCTK: wav48/p225/, txt/p225/)."""
    folder = folder.absolute()
    root = next((above.parent for above in (folder, folder.parent) if _is_half_of_a_tree(above)), folder)
    files = list(files_below(root))
    texts: dict[tuple[str, ...], Path] = {}
    for file in sorted(files, key=_preference):
        if (stem := _stem(file)) and file.is_file():
            texts.setdefault(_key(root, file, stem), file)
    pairs: dict[Path, Path] = {}  # text file -> sound; of two microphones the first
    for file in files:
        if suffix_of(file.name):
            stem = clean_name(without_suffix(file.name))
            keys = [_key(root, file, name) for name in (stem, MICROPHONES.sub("", stem))]
            text = next((texts[key] for key in keys if key in texts), None)
            if text is not None and (root == folder or folder in (*file.parents, *text.parents)):
                pairs.setdefault(text, file)
    if not pairs:
        return None
    sounds = sum(bool(suffix_of(file.name)) for file in files)
    remark = f"{len(pairs)} pairs of a sound and a text file are read, of {sounds} sounds and {len(texts)} text files in {root}"
    return Found((root,), tuple((sound, text) for text, sound in pairs.items()), (remark,))


_TREES = re.compile(r"(?i)(wavs?|flac|audio|sounds?|clips|txt|texts?|labs?|transcri\w+)([\d_-].*)?$")


def _is_half_of_a_tree(folder: Path) -> bool:
    """Tell whether a folder holds the sounds or the texts of a corpus, and its parent the others."""
    return bool(_TREES.match(folder.name)) and sum(bool(_TREES.match(entry.name)) for entry in folder.parent.iterdir()) > 1


def _key(root: Path, file: Path, stem: str) -> tuple[str, ...]:
    """Return what a sound and its text have in common: folders but for the first that says which of the two it is, and name."""
    folders = file.relative_to(root).parts[:-1]
    return (*(folder for folder in folders if not _TREES.match(folder)), stem.casefold())


def _preference(file: Path) -> int:
    lower = file.name.lower()
    return next((place for place, suffix in enumerate(TRANSCRIPTS) if lower.endswith(suffix)), len(TRANSCRIPTS))
