"""Say a text with a voice: the program of `speak` (objective/speak.py)."""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.audio import pcm, save, wav_header
from model.errors import BadInput
from model.files import atomic_write
from model.synthesis import SYNTHESIS_SEED
from model.text.sentences import PARAGRAPH_S
from model.vocoders.loading import load_vocoder
from model.voice import Utterance, Voice
from objective.display.formatting import one_line
from objective.settings.device import device_of
from objective.speech.find import load


def run(parsed: argparse.Namespace) -> int:
    """Say the text of the arguments; return 0. Raises BadInput and OSError."""
    _check(parsed)
    try:
        _say(parsed)
    except BrokenPipeError:  # the player was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would write the rest at its exit
    return 0


def _say(parsed: argparse.Namespace) -> None:
    voice, note = load(parsed)
    vocoder = load_vocoder(parsed.vocoder, voice.config.audio, device_of(parsed.device))
    print(f"{note}, {voice.language.code}, {voice.rate_hz} Hz", file=sys.stderr)
    stream = sys.stdout.buffer if parsed.output == "-" else None
    if stream is not None:
        stream.write(wav_header(voice.config.audio))
    waves, mels = [], []
    for utterance in _utterances(voice, parsed):
        wave = voice.wave(utterance, vocoder)
        _report(utterance, len(wave) / voice.rate_hz)
        mels.append(utterance.mel)
        if stream is None:
            waves.append(wave)
        else:
            stream.write(pcm(wave))
            stream.flush()  # a player hears it now
    if not mels:
        raise BadInput("need a text to say, got nothing: give it as an argument, with --file, or on the standard input")
    if stream is None:
        save(Path(parsed.output), np.concatenate(waves), voice.config.audio)
        print(f"{sum(map(len, waves)) / voice.rate_hz:.1f} s in {parsed.output}", file=sys.stderr)
    if parsed.mel is not None:
        with atomic_write(parsed.mel) as part, part.open("wb") as file:
            np.save(file, np.concatenate(mels))


def _check(parsed: argparse.Namespace) -> None:
    """Raise BadInput for arguments that cannot be used, before anything is loaded."""
    mistakes = []
    if parsed.text is not None and parsed.file is not None:
        mistakes.append("need one text, got both TEXT and --file: leave one out")
    if not 0 < parsed.threshold < 1:
        mistakes.append(f"--threshold: need a probability between 0 and 1, got {parsed.threshold:g}")
    if parsed.window is not None and parsed.window < 1:
        mistakes.append(f"--window: need at least 1 symbol, got {parsed.window}: leave it out for no limit")
    if parsed.output != "-" and Path(parsed.output).suffix.lower() != ".wav":
        mistakes.append(f"--output: need a file *.wav, or -, got {parsed.output}: give it this ending")
    for path in (parsed.mel, None if parsed.output == "-" else Path(parsed.output)):
        if path is not None and not path.absolute().parent.is_dir():
            mistakes.append(
                f"need a folder to write {path.name} to, got {path.absolute().parent}, which does not exist: create it"
            )
    if mistakes:
        raise BadInput("\n".join(mistakes))


def _utterances(voice: Voice, parsed: argparse.Namespace) -> Iterator[Utterance]:
    seed = SYNTHESIS_SEED + parsed.seed
    how = {"threshold": parsed.threshold, "window": parsed.window, "seed": seed, "tries": parsed.tries}
    if parsed.text is None and parsed.file is None:
        for line in filter(str.strip, sys.stdin):
            try:
                for utterance in voice.utterances(line, **how):
                    yield replace(utterance, pause_s=utterance.pause_s or PARAGRAPH_S)
            except BadInput as why:  # a line without words: the others are still said
                print(why, file=sys.stderr)
        return
    text = parsed.text if parsed.file is None else _text(parsed.file)
    yield from voice.utterances(text, **how)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as why:
        raise BadInput(f"{path}: need a text in UTF-8, got other bytes ({why.reason} at {why.start}): convert it") from why


def _report(utterance: Utterance, seconds: float) -> None:
    """Print a line about a sentence: its length, and what is wrong with it."""
    parts = [f"{seconds:4.1f} s"]
    if utterance.tries > 1:
        parts.append(f"said {utterance.tries} times")
    if utterance.faults:
        parts.append(" and ".join(utterance.faults))
    if utterance.dropped:
        parts.append(f"left out, without a symbol: {one_line(' '.join(dict.fromkeys(utterance.dropped)))}")
    if utterance.heard is not None and utterance.faults:
        parts.append(f'heard "{utterance.heard}"')
    print(f"{', '.join(parts)}: {one_line(utterance.text)}", file=sys.stderr)
