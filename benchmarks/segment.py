"""Measure `tacotune segment`: join the clips of an LJSpeech folder into one recording, cut it again, and compare.

    python -m benchmarks.segment --data FOLDER [--language ru --like CORPUS --kframes 6000] [--first 560 --clips 60]

Prints a table in Markdown. True words are those of the clips, each aligned alone with its own text. A wrong word is one that a
kept cut says without its text, or the other way round. An edge error is how far a cut reaches into a true word.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from model.text.languages import Language, find_language
from objective.segmenting.aligning import Aligner, Word
from objective.segmenting.choosing import choose
from objective.segmenting.pauses import Span, find_speech
from objective.segmenting.program import judged
from objective.segmenting.recording import Recording
from objective.segmenting.segmenting import Piece, segment
from objective.segmenting.transcript import read_units, transcript

Floats = NDArray[np.float32]
Words = list[tuple[str, Span]]

SILENCE_S, BETWEEN_S = 0.6, 2.0
NOISE_RMS, CHORD = 0.01, (220.0, 277.2, 329.6)  # of full scale; Hz
CASES = ("silence between", "noise and tones between", "a sentence missing in the text", "a sentence missing in the sound")


class Clip(NamedTuple):
    wave: Floats
    text: str


class Joined(NamedTuple):
    """A recording of clips, None for one that is missing, with the beginning of each in seconds, and the speech in it."""

    recording: Recording
    clips: list[Clip | None]
    starts_s: list[float]
    speech: list[Span]


class Remembering:
    """An aligner that is asked once for each sound and text: cases share recordings."""

    def __init__(self, aligner: Aligner) -> None:
        self.aligner, self.name = aligner, aligner.name
        self.heard: dict[tuple[Path, Span], list[Word]] = {}

    def hear(self, recording: Recording, part: Span, speech: Sequence[Span]) -> list[Word]:
        key = (recording.path, part)
        if key not in self.heard:
            self.heard[key] = self.aligner.hear(recording, part, speech)
        return self.heard[key]

    def place(self, recording: Recording, part: Span, speech: Sequence[Span], texts: Sequence[str]) -> list[Span] | None:
        return self.aligner.place(recording, part, speech, texts)


def clips_of(folder: Path, first: int, count: int) -> tuple[list[Clip], int]:
    """Read clips, and their rate."""
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))[first : first + count]
    found = [soundfile.read(folder / "wavs" / f"{row[0]}.wav", dtype="float32") for row in rows]
    return [Clip(wave, row[-1]) for row, (wave, _) in zip(rows, found, strict=True)], found[0][1]


def between(noisy: bool, number: int, rate_hz: int) -> Floats:
    if not noisy:
        return np.zeros(int(SILENCE_S * rate_hz), np.float32)
    times = np.arange(int(BETWEEN_S * rate_hz)) / rate_hz
    noise = NOISE_RMS * np.random.default_rng(number).standard_normal(len(times))
    tones = 0.05 * sum(np.sin(2 * np.pi * hertz * times) for hertz in CHORD)
    return np.asarray(noise + tones * (number % 2), np.float32)


def join(clips: list[Clip | None], noisy: bool, rate_hz: int, path: Path) -> Joined:
    """Write clips one after the other, and find the speech."""
    waves: list[Floats] = []
    starts_s: list[float] = []
    for number, clip in enumerate(clips):
        starts_s.append(sum(map(len, waves)) / rate_hz)
        if clip is not None:
            waves += [clip.wave, between(noisy, number, rate_hz)]
    soundfile.write(path, np.concatenate(waves), rate_hz)
    recording = Recording.open(path)
    return Joined(recording, clips, starts_s, find_speech(recording, lambda done, total: None))


def reference(joined: Joined, rate_hz: int, language: Language, aligner: Aligner) -> list[Words]:
    """Return the words of each clip by seconds of the clip, placed with nothing else around it."""
    found: list[Words] = []
    for clip, start_s in zip(joined.clips, joined.starts_s, strict=True):
        assert clip is not None
        part = Span(start_s, start_s + len(clip.wave) / rate_hz)
        speech = [span for span in joined.speech if part.start_s <= (span.start_s + span.end_s) / 2 < part.end_s]
        texts = [unit.read for unit in read_units(clip.text, language)]
        placed = aligner.place(joined.recording, part, speech, texts) or []
        found.append([(text, Span(at.start_s - start_s, at.end_s - start_s)) for text, at in zip(texts, placed, strict=False)])
    return found


def compared(piece: Piece, words: Words, language: Language) -> tuple[int, int, list[float]]:
    """Return the words of a piece, how many of them are wrong, and how far its ends reach into true words, in seconds."""
    said = [part for word, at in words if piece.start_s <= (at.start_s + at.end_s) / 2 < piece.end_s for part in word.split()]
    written = [part for unit in read_units(piece.text, language) for part in unit.read.split()]
    inside = [
        max((min(edge - at.start_s, at.end_s - edge) for _, at in words if at.start_s < edge < at.end_s), default=0.0)
        for edge in (piece.start_s, piece.end_s)
    ]
    return len(written), Levenshtein.distance(said, written), inside


def row(case: str, joined: Joined, texts: Sequence[str], true: list[Words], language: Language, aligner: Aligner) -> str:
    """Segment a case and return its row of the table."""
    words = [
        (word, Span(start_s + at.start_s, start_s + at.end_s))
        for clip, start_s, inside in zip(joined.clips, joined.starts_s, true, strict=True)
        for word, at in inside
        if clip is not None
    ]
    text = transcript([("\n".join(texts), 0.0, float("inf"))], language)
    found = segment(joined.recording, joined.speech, text, aligner, 1.0, 12.0, lambda what, done, total: None)
    level, pieces = judged(found.pieces, None)
    kept = [piece for piece in pieces if not piece.reason]
    results = [compared(piece, words, language) for piece in kept]
    for piece, (_, wrong, _) in zip(kept, results, strict=True):
        if wrong:
            print(f"{case}: {wrong} wrong in {piece.text!r}, heard {piece.heard!r}", file=sys.stderr)
    for piece in pieces:
        if piece.reason:
            print(f"{case}: {piece.reason}: {piece.text!r}, heard {piece.heard!r}", file=sys.stderr, flush=True)
    edges = [edge for _, _, pair in results for edge in pair]
    speech_s = sum(span.end_s - span.start_s for span in joined.speech)
    cells = [
        case,
        len(pieces),
        len(kept),
        len(pieces) - len(kept),
        sum(count for count, _, _ in results),
        sum(wrong for _, wrong, _ in results),
        f"{sum(piece.seconds for piece in kept):.0f} of {sum(piece.seconds for piece in pieces):.0f} ({speech_s:.0f})",
        f"{np.mean(edges) if edges else 0.0:.3f}",
        f"{level:.2f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an LJSpeech folder")
    parser.add_argument("--language", default="en")
    parser.add_argument("--like", type=Path, help="another folder of the same voice, whose listener hears")
    parser.add_argument("--kframes", type=int)
    parser.add_argument("--whisper", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    language = find_language(parsed.language)
    aligner = choose(language, parsed.whisper, parsed.like, parsed.kframes, parsed.out, print)
    clips, rate_hz = clips_of(parsed.data, parsed.first, parsed.clips)
    texts = [clip.text for clip in clips]
    missing = len(clips) // 2
    without = [None if number == missing else clip for number, clip in enumerate(clips)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        quiet = join([*clips], False, rate_hz, Path(folder, "quiet.wav"))
        true = reference(quiet, rate_hz, language, aligner)
        shared = Remembering(aligner)
        heads = ("case", "cuts", "kept", "refused", "words kept", "wrong", "seconds kept (speech)", "edge error s", "level")
        print(f"{len(clips)} clips, {quiet.recording.seconds:.0f} s, {aligner.name}\n")
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        print(row(CASES[0], quiet, texts, true, language, shared), flush=True)
        took = (time.process_time() - began) / quiet.recording.seconds
        print(row(CASES[2], quiet, texts[:missing] + texts[missing + 1 :], true, language, shared), flush=True)
        lacking = join(without, False, rate_hz, Path(folder, "lacking.wav"))
        print(row(CASES[3], lacking, texts, true, language, aligner), flush=True)
        noisy = join([*clips], True, rate_hz, Path(folder, "noisy.wav"))
        print(row(CASES[1], noisy, texts, true, language, aligner), flush=True)
    print(f"\n{took:.2f} CPU seconds for a second of sound")


if __name__ == "__main__":
    main()
