"""Serve a voice over HTTP: the program of `serve` (objective/serve.py)."""

import argparse
import asyncio
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from model.errors import BadInput
from model.vocoders.loading import Vocoder, load_vocoder
from model.voice import Voice
from objective.display.formatting import one_line
from objective.runtime.access import address_of, origin, token_for
from objective.runtime.signals import Interruption
from objective.settings.device import device_of
from objective.speech.find import load
from objective.speech.server.api import Api, Limits
from objective.speech.server.speaker import Speaker

TOKEN = "TACOTUNE_TOKEN"
IDLE_S = 75.0  # for which a connection without a request is kept
BACKLOG = 128  # connections that the system accepts before the program does


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal; return 0, or 1 for a voice that is not finite. Raises BadInput, StorageError and OSError."""
    _check(parsed)
    family, address = address_of(parsed.host, parsed.port)
    token = token_for(parsed.host, address, TOKEN)
    limits = Limits(parsed.most_characters, parsed.timeout_s, token, parsed.log_texts)
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        _bind(listener, address, parsed)
        if parsed.threads is not None:
            torch.set_num_threads(parsed.threads)
        voice, name = load(parsed)
        vocoder = load_vocoder(parsed.vocoder, voice.config.audio, device_of(parsed.device))
        if not healthy(voice, vocoder):
            return 1
        speaker = Speaker(voice, vocoder, queue=parsed.queue, batch=parsed.batch, tries=parsed.tries)
        with Interruption(supervised=True) as interruption:  # one signal is enough, and `timeout` sends two
            asyncio.run(serve(speaker, name, limits, listener, interruption))
    return 0


def healthy(voice: Voice, vocoder: Vocoder) -> bool:
    """Say a sentence, print how that went, and return whether it is finite. The first sentence also loads what is needed."""
    text = dict(voice.about.get("figures", {})).get("text") or voice.language.sentences.read_text("utf-8").partition("\n")[0]
    began = time.perf_counter()
    said = list(voice.utterances(str(text)))
    if not all(np.isfinite(utterance.mel).all() for utterance in said):
        print("need a voice whose mels are finite, got one that is not: choose another --voice or --trial", file=sys.stderr)
        return False
    speech_s = sum(len(voice.wave(utterance, vocoder)) for utterance in said) / voice.rate_hz
    took_s = time.perf_counter() - began
    faults = dict.fromkeys(fault for utterance in said for fault in utterance.faults)
    found = f"faults: {', '.join(faults)}" if faults else "no faults"
    print(
        f"self-check: {speech_s:.1f} s of speech in {took_s:.1f} s, {found}: {one_line(str(text))}", file=sys.stderr, flush=True
    )
    return True


def _check(parsed: argparse.Namespace) -> None:
    """Raise BadInput for limits that let nothing through."""
    mistakes = [
        f"--{name.replace('_', '-')}: need at least 1, got {value}: give a larger one"
        for name in ("queue", "batch", "most_characters", "tries", "threads")
        if (value := getattr(parsed, name)) is not None and value < 1
    ]
    if not 0 < parsed.timeout_s < float("inf"):
        mistakes.append(f"--timeout-s: need seconds above 0, got {parsed.timeout_s:g}: leave it out for 120")
    if mistakes:
        raise BadInput("\n".join(mistakes))


def _bind(listener: socket.socket, address: tuple[Any, ...], parsed: argparse.Namespace) -> None:
    """Take the port before the voice is loaded. Raises BadInput where it is not available."""
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as why:
        raise BadInput(f"cannot serve port {parsed.port} of {parsed.host}: {why.strerror}: choose another --port") from why


async def serve(speaker: Speaker, name: str, limits: Limits, listener: socket.socket, interruption: Interruption) -> None:
    """Serve until a signal, or until the GPU fails, whose error is raised; before that, let the running requests end.

    name: of the voice. listener: a bound socket.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def request() -> None:
        loop.call_soon_threadsafe(stop.set)

    interruption.on_request = request
    runner = web.AppRunner(
        Api(speaker, name, limits).app(),
        access_log=None,
        logger=_bugs_alone(),
        handler_cancellation=True,  # a client that went away is not said anything
        keepalive_timeout=IDLE_S,
        shutdown_timeout=limits.timeout_s,
        max_line_size=limits.bytes,
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    print(f"serving {name}: open {origin(listener.getsockname())}", flush=True)
    tasks = [asyncio.create_task(speaker.run()), asyncio.create_task(stop.wait())]
    if not interruption.requested:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if speaker.waiting:
        print(f"stopping: requests still to be answered: {speaker.waiting}", file=sys.stderr, flush=True)
    await runner.cleanup()
    interruption.on_request = lambda: None  # the loop ends
    for task in tasks:
        task.cancel()
    speaker.close()
    with suppress(asyncio.CancelledError):
        await tasks[0]


def _bugs_alone() -> logging.Logger:
    """Return a logger for aiohttp without the requests that are no HTTP: their lines may hold texts."""
    logger = logging.Logger("serve", logging.ERROR)
    logger.addHandler(logging.StreamHandler())
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger
