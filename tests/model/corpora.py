"""Corpora of tones that a test changes before it loads them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from model.config import Audio
from model.data.corpus import Corpus, load_corpus
from model.data.limits import Limits
from model.text.languages import Language, find_language

AUDIO = Audio()
EN, RU = find_language("en"), find_language("ru")
UTTERANCES = 24  # of a good corpus: one bad line more is 4 % of the lines
BAD_LINE = 8  # number of the line that is inserted


def tone(seconds: float = 0.5, hertz: float = 310.0, rate_hz: int = AUDIO.rate_hz) -> np.ndarray:
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


class Draft:
    """A good corpus, to be changed before it is written and loaded."""

    def __init__(self, folder: Path, recordings: Path) -> None:
        self.folder, self.cache = folder, recordings / "cache"
        shutil.copytree(recordings / "wavs", folder / "wavs")
        self.lines: list[str | bytes] = [f"wavs/a-{number:02}.wav|Tone {number}." for number in range(UTTERANCES)]
        self.list_name = "list.txt"

    def insert(self, line: str | bytes) -> None:
        """Insert a line at BAD_LINE."""
        self.lines.insert(BAD_LINE - 1, line)

    def insert_sound(self, wave: np.ndarray, text: str = "The bad one.", rate_hz: int = AUDIO.rate_hz, **format: Any) -> None:
        """Write wavs/bad.wav and insert its line."""
        soundfile.write(self.folder / "wavs/bad.wav", wave, rate_hz, **format)
        self.insert(f"wavs/bad.wav|{text}")

    def insert_file(self, content: bytes) -> None:
        """Write wavs/bad.wav with any content and insert its line."""
        (self.folder / "wavs/bad.wav").write_bytes(content)
        self.insert("wavs/bad.wav|The bad one.")

    def insert_folder(self) -> None:
        """Make a folder wavs/bad.wav and insert a line that names it."""
        (self.folder / "wavs/bad.wav").mkdir()
        self.insert("wavs/bad.wav|The bad one.")

    def insert_copy(self) -> None:
        """Copy a recording under another name and insert its line."""
        shutil.copy(self.folder / "wavs/a-03.wav", self.folder / "wavs/copy.wav")
        self.insert("wavs/copy.wav|The bad one.")

    def insert_rows(self, rows: str) -> None:
        """Turn the list into a csv with a header and insert rows, at the same line number."""
        self.lines = ["path,text", *(str(line).replace("|", ",") for line in self.lines)]
        self.insert(rows)

    def first_part(self, share: float) -> bytes:
        """Return the first part of a good recording's file."""
        content = (self.folder / "wavs/a-00.wav").read_bytes()
        return content[: int(share * len(content))]

    def half_a_flac(self) -> bytes:
        soundfile.write(self.folder / "complete.flac", tone(2.0), AUDIO.rate_hz)
        return (self.folder / "complete.flac").read_bytes()[:5_000]

    def rewrite(self, change: Callable[[str], str | bytes]) -> None:
        """Change every line of the list."""
        self.lines = [change(str(line)) for line in self.lines]

    def silence(self, before: float, after: Callable[[int], float], level: float = 0.0) -> None:
        """Put silence before and after every recording, in seconds, filled with white noise of an RMS of `level`."""
        random = np.random.default_rng(0)
        for number, path in enumerate(sorted((self.folder / "wavs").glob("*.wav"))):
            wave, rate_hz = soundfile.read(path)
            ends = [level * random.normal(size=int(seconds * rate_hz)) for seconds in (before, after(number))]
            soundfile.write(path, np.concatenate([ends[0], wave, ends[1]]), rate_hz)

    def load(self, language: Language = EN, trim_margin_s: float | None = None, **limits: Any) -> Corpus:
        written = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in self.lines)
        (self.folder / self.list_name).write_bytes(written)
        limited = Limits(**limits)
        return load_corpus(self.folder, language, AUDIO, self.cache, limited, validation=3, seed=0, trim_margin_s=trim_margin_s)
