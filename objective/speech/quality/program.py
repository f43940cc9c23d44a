"""Measure a voice: the program of `quality` (objective/quality.py)."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from model.errors import BadInput
from model.vocoders.loading import load_vocoder
from model.voice import Voice
from objective.runtime.written import writable, write
from objective.settings.device import device_of
from objective.speech.find import find, opened
from objective.speech.quality import judges
from objective.speech.quality.held_out import held_out
from objective.speech.quality.measure import FREE_RUNNING, Instruments, Texts, chosen, measure, recorded
from objective.speech.quality.show import page, table
from objective.speech.recordings import settings_of
from objective.trial.corpus import phases


def run(parsed: argparse.Namespace) -> int:
    """Measure the voice of the arguments, show and write what was found; return 0. Raises BadInput and OSError."""
    _check(parsed)
    found, device = find(parsed.voice, parsed.trial, parsed.out, parsed.storage), device_of(parsed.device)
    voice = opened(found, device)
    settings = settings_of(found, voice, parsed.data, parsed.out)
    texts = None if parsed.texts is None else _texts(parsed.texts, voice)
    whisper = None if parsed.whisper is None else judges.whisper(parsed.whisper, voice.language)
    vocoder = load_vocoder(parsed.vocoder, settings.audio, device)
    print(f"{found.note}, {voice.language.code}", file=sys.stderr, flush=True)
    held = held_out(settings, [voice], device, parsed.sentences)
    instruments = Instruments(
        audio=settings.audio,
        language=voice.language,
        vocoder=vocoder,
        ears=held.ears,
        whisper=whisper,
        dnsmos=judges.dnsmos(),
        vocoder_name=parsed.vocoder,
        listener_name=held.listener,
    )
    with phases(settings.quiet) as told:
        recordings = recorded(
            held.corpus, held.judge, settings.audio, settings.data.margin_s, partial(told, "reading the held-out recordings")
        )
        margin = settings.health.targets.understood
        texts = texts or chosen(held.corpus)
        quality = measure(voice, found.note, held.judge, recordings, instruments, texts, margin, told)
    print(table(quality))
    write(parsed.json, lambda: json.dumps(quality.as_dict(), ensure_ascii=False, indent=1))
    write(parsed.html, lambda: page(quality, settings.audio))
    return 0


def _check(parsed: argparse.Namespace) -> None:
    """Raise BadInput for arguments that cannot be used, before anything is loaded."""
    mistakes = writable((parsed.json, parsed.html))
    if parsed.sentences < 1:
        mistakes.append(f"--sentences: need at least 1, got {parsed.sentences}: give a larger number")
    if parsed.texts is not None and not parsed.texts.is_file():
        mistakes.append(f"--texts: need a file of sentences, one a line, got {parsed.texts}, which does not exist: check it")
    if mistakes:
        raise BadInput("\n".join(mistakes))


def _texts(path: Path, voice: Voice) -> Texts:
    """Read sentences, FREE_RUNNING at most. Raises BadInput for a file without any."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as why:
        raise BadInput(f"{path}: need texts in UTF-8, got other bytes at {why.start}: convert it") from why
    found = [piece.text for line in lines[:FREE_RUNNING] for piece in voice.pieces(line)][:FREE_RUNNING]
    if not found:
        raise BadInput(f"{path}: need a sentence in each line, got an empty file: choose another")
    return Texts(f"without recordings, of {path.name}", tuple(found))
