"""Find the sound file that a list names: beside the list, in one of its usual folders, or anywhere below it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from unicodedata import normalize

# Read by libsndfile, then those that need ffmpeg or that a person is told about. An id is looked for in this order.
SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".opus", ".oga", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
    ".sph", ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".amr", ".3gp", ".gsm", ".ac3", ".mka", ".wv", ".ape", ".spx",
)  # fmt: skip
PLACES = ("wavs", "wav", "clips", "audio", ".")  # folders beside a list, the first that has the sound is taken
MOST_FILES = 2_000_000  # looked at below one folder: someone's list may lie in a home folder


def without_suffix(name: str) -> str:
    """Cut the suffix of a sound file off a name, in any case; other dots belong to the name."""
    return name[: -len(suffix)] if (suffix := suffix_of(name)) else name


def suffix_of(name: str) -> str:
    """Return the suffix of a sound file that a name has, in lower case: `a/1.WAV` -> `.wav`; "" if it has none."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")


def clean_name(name: str) -> str:
    """Return a listed name with forward slashes and composed letters."""
    return normalize("NFC", str(PurePosixPath(name.strip().replace("\\", "/"))))


class Sounds:
    """The sound files that a list in `folder` can name, by their path or by an id without suffix.

    paths: of ids, where another file lists them.
    """

    def __init__(self, folder: Path, paths: Mapping[str, str] | None = None) -> None:
        self.folder, self.paths = folder, paths or {}
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """Return the one file that a listed name means; None if there is none, or several that are as likely."""
        if name not in self._found:
            listed = self._listed(name)
            found = self._exact(listed) if listed else None
            if listed and found is None and len(several := self.candidates(listed)) == 1:
                found = several[0]
            self._found[name] = found
        return self._found[name]

    def is_sound(self, name: str) -> bool:
        """Tell whether a cell of a list names a sound: by its suffix, or because there is one."""
        return bool(suffix_of(name.strip())) or self.find(name) is not None

    def missing(self, name: str) -> Path:
        """Return the path at which a sound that was not found should be."""
        listed = self._listed(name)
        return self.folder / (listed if suffix_of(listed) else f"wavs/{listed}{SUFFIXES[0]}")

    def _listed(self, name: str) -> str:
        return self.paths.get(name.strip(), name).strip().replace("\\", "/")

    def _exact(self, name: str) -> Path | None:
        """Look next to the list, in `wavs/`, or relative to a folder above, without a walk through folders."""
        files = [name] if suffix_of(name) else [f"wavs/{name}{suffix}" for suffix in SUFFIXES[:4]]
        usual = (self.folder, *(self.folder / place for place in PLACES), *self.folder.absolute().parents)
        places = usual if suffix_of(name) else (self.folder,)
        for place in places:
            for file in files:
                for spelling in dict.fromkeys((file, normalize("NFC", file), normalize("NFD", file))):  # macOS decomposes
                    if os.path.isfile(place / spelling):  # unlike Path.is_file, False for names that are too long
                        return place / spelling
        return None

    def candidates(self, name: str) -> list[Path]:
        """Return the files below the list that a name may mean, in any case and with any suffix, the likeliest only.

        Folders of another machine may stand before the name (`/home/anna/wavs/1.wav`, `DUMMY/1.wav`), unless they exist here.
        """
        listed = clean_name(self._listed(name))
        parts = PurePosixPath(without_suffix(listed)).parts
        alike = self.index.get(parts[-1].casefold(), []) if parts else []
        shared = {path: _common_tail(parts, self._parts(path)) for path in alike}
        longest = max(shared.values(), default=0)
        found = [path for path in alike if shared[path] == longest]
        if longest < len(parts):
            moved = not os.path.isdir(self.folder / Path(*parts[:-1]))
            found = [path for path in found if moved and ("/".join(self._parts(path)[:-longest]) or ".") in PLACES]
        ranks = [self._rank(path, parts[-1], suffix_of(listed)) for path in found]
        return [path for path, rank in zip(found, ranks, strict=True) if rank == min(ranks)]

    def _rank(self, path: Path, stem: str, suffix: str) -> tuple[bool, bool, int]:
        """Order files that a name may mean: the same case before another, the same suffix, the usual folders."""
        place = path.relative_to(self.folder).parent.as_posix()
        usual = PLACES.index(place) if place in PLACES else len(PLACES)
        return self._parts(path)[-1] != stem, path.suffix.lower() != suffix, usual

    def _parts(self, path: Path) -> tuple[str, ...]:
        return PurePosixPath(without_suffix(clean_name(path.relative_to(self.folder).as_posix()))).parts

    @cached_property
    def index(self) -> dict[str, list[Path]]:
        """All sound files below the folder, by name without suffix and case."""
        index: dict[str, list[Path]] = {}
        for path in files_below(self.folder):
            if suffix_of(path.name):
                index.setdefault(without_suffix(clean_name(path.name)).casefold(), []).append(path)
        return index


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below it, in order, but no hidden ones: macOS leaves `._NAME` beside NAME."""
    seen: set[tuple[int, int]] = set()  # folders: links may lead back
    count = 0
    for place, folders, files in os.walk(folder, followlinks=True):
        with suppress(OSError):  # a folder that has just gone has no files
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen or count > MOST_FILES:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        count += len(files)
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _common_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Count the parts that two paths have in common at their ends; the last one is known to be equal but for its case."""
    count = 1
    while count < min(len(first), len(second)) and first[-count - 1] == second[-count - 1]:
        count += 1
    return count
