"""Cut recordings into a corpus: the program of `segment` (objective/segment.py)."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from model.errors import BadInput
from model.text.languages import find_language
from objective.segmenting import checking
from objective.segmenting.choosing import choose
from objective.segmenting.folder import names, new_folder, write_lists, write_pieces
from objective.segmenting.pauses import find_speech
from objective.segmenting.recording import Recording
from objective.segmenting.segmenting import Piece, Segmented, segment
from objective.segmenting.transcript import read
from objective.trial.corpus import phases

SHOWN = 80  # characters of a text that was not heard


def run(parsed: argparse.Namespace) -> int:
    """Segment the recordings of the arguments; return 0. Raises BadInput and OSError."""
    _check(parsed)
    try:
        language = find_language(parsed.language)
    except ValueError as why:
        raise BadInput(f"--language: {why}") from why
    with new_folder(parsed.folder) as folder:
        recordings = [Recording.open(path) for path in parsed.recordings]
        transcripts = [read(path, language) for path in parsed.text]
        aligner = choose(language, parsed.whisper, parsed.like, parsed.kframes, parsed.out, _say)
        _say(f"words are heard and placed by {aligner.name}")
        kept: list[str] = []
        refused: list[list[str]] = []
        heard_s = kept_s = 0.0
        with phases() as told:
            for name, recording, transcript in zip(names(parsed.recordings), recordings, transcripts, strict=True):
                spans = find_speech(recording, partial(told, f"finding pauses in {recording.path.name}"))
                found = segment(recording, spans, transcript, aligner, parsed.shortest, parsed.longest, told)
                level, pieces = judged(found.pieces, parsed.most_errors)
                lines, rows = write_pieces(
                    folder, name, recording, pieces, partial(told, f"writing the cuts of {recording.path.name}")
                )
                kept += lines
                refused += rows
                heard_s += sum(piece.seconds for piece in pieces)
                kept_s += sum(piece.seconds for piece in pieces if not piece.reason)
                _say(_summary(recording, found, pieces, level))
        if not kept:
            first = "; ".join(sorted({row[4] for row in refused})[:3]) or "no speech was found"
            raise BadInput(f"no cut is left ({first}): do the recordings say these transcripts, and is --language right?")
        write_lists(folder, kept, refused)
    minutes = f"{kept_s / 60:.1f} of {heard_s / 60:.1f} minutes of speech"
    print(f"{parsed.folder}: {len(kept)} cuts, {minutes}; {len(refused)} refused")
    if refused:
        print(f"look at {parsed.folder / 'refused.csv'}: what is right after all can be added to metadata.csv, with its sound")
    return 0


def judged(pieces: Sequence[Piece], most: float | None) -> tuple[float, list[Piece]]:
    """Return the level of errors, from the pieces themselves unless it is given, and the pieces with those above it refused."""
    errors = [piece.error for piece in pieces if piece.error is not None and not piece.reason]
    level = checking.level_of(errors) if most is None else most
    return level, [
        replace(piece, reason=f"{piece.error:.0%} of the letters were heard otherwise, at most {level:.0%} may be")
        if not piece.reason and piece.error is not None and piece.error > level
        else piece
        for piece in pieces
    ]


def _summary(recording: Recording, found: Segmented, pieces: Sequence[Piece], level: float) -> str:
    kept = sum(not piece.reason for piece in pieces)
    rule = f"at most {level:.0%} of a cut's letters may be misheard"
    lines = [f"{recording.path.name}: {kept} of {len(pieces)} cuts kept; {rule}"]
    shown = (text if len(text) <= SHOWN else f"{text[:SHOWN]}..." for text in found.unheard)
    return "\n".join([*lines, *(f"  not heard in it: {text}" for text in shown)])


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _check(parsed: argparse.Namespace) -> None:
    """Raise BadInput for arguments that cannot be used, before anything is loaded."""
    mistakes = []
    if len(parsed.text) != len(parsed.recordings):
        counts = f"{len(parsed.text)} for {len(parsed.recordings)} recordings"
        mistakes.append(f"--text: need a transcript for each recording, in the same order, got {counts}: give one for each")
    if not 0 < parsed.shortest < parsed.longest:
        mistakes.append(f"need 0 < --shortest < --longest, got {parsed.shortest:g} and {parsed.longest:g}: change one of them")
    if parsed.most_errors is not None and not 0 < parsed.most_errors <= 1:
        mistakes.append(f"--most-errors: need a share above 0 and at most 1, got {parsed.most_errors:g}: try 0.2")
    if parsed.kframes is not None and (parsed.kframes < 1 or parsed.like is None):
        mistakes.append(f"--kframes: need at least 1, and --like, got {parsed.kframes}: leave it out")
    if parsed.whisper is not None and parsed.like is not None:
        mistakes.append("--whisper and --like: need one of them at most, got both: leave one out")
    if mistakes:
        raise BadInput("\n".join(mistakes))
