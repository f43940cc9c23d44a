"""Serve a voice over HTTP: the program of `serve` (objective/serve.py)."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress
from typing import Any

import torch
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from model.errors import BadInput
from model.vocoders.loading import Vocoder, load_vocoder
from model.voice import Voice
from objective.runtime.access import address_of, origin, token_for
from objective.runtime.signals import Interruption
from objective.settings.device import device_of
from objective.speech.find import load
from objective.speech.registry.store import CHAMPION, BrokenVersion, Reference, Registry
from objective.speech.self_check import fault
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
        found = ready(parsed)
        if found is None:
            return 1
        voice, name, vocoder = found
        speaker = Speaker(voice, vocoder, queue=parsed.queue, batch=parsed.batch, tries=parsed.tries)
        with Interruption(supervised=True) as interruption:  # one signal is enough, and `timeout` sends two
            asyncio.run(serve(speaker, name, limits, listener, interruption))
    return 0


def ready(parsed: argparse.Namespace) -> tuple[Voice, str, Vocoder] | None:
    """Return the voice, its name and its vocoder after the self-check; None where no voice has passed it.

    Where the champion of a registry fails, the version before it becomes the champion again.
    """
    reference = Reference.parse(parsed.voice)
    if reference is None or reference.which != CHAMPION:
        checked = _checked(parsed)
        return None if isinstance(checked, str) else checked
    registry = Registry(parsed.mlflow, parsed.out)
    champion = registry.version(reference)
    parsed.voice = str(champion.reference)  # what is judged, whichever becomes the champion meanwhile
    checked = _checked(parsed)
    if not isinstance(checked, str):
        return checked
    before = registry.roll_back(champion, f"serve: {checked}")
    if before is None:
        return None
    print(f"{champion} failed its self-check: {before} is served, and is the champion", file=sys.stderr, flush=True)
    parsed.voice = str(before.reference)
    checked = _checked(parsed)
    return None if isinstance(checked, str) else checked


def _checked(parsed: argparse.Namespace) -> tuple[Voice, str, Vocoder] | str:
    """Load the voice of the arguments and its vocoder; return why it cannot be used where it fails the self-check."""
    try:
        voice, name = load(parsed)
    except BrokenVersion as why:
        print(why, file=sys.stderr)
        return str(why)
    vocoder = load_vocoder(parsed.vocoder, voice.config.audio, device_of(parsed.device))
    return fault(voice, vocoder) or (voice, name, vocoder)


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
