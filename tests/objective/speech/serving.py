"""Serve a tiny untrained voice on a real port of this machine, with a vocoder that can be held."""

import json
import socket
import threading
from asyncio import run
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from model.audio import Floats
from model.voice import Voice
from objective.runtime.signals import Interruption
from objective.speech.server.api import Limits
from objective.speech.server.program import serve
from objective.speech.server.speaker import Speaker
from tests.model.test_voice import voice
from tests.objective.asking import ask

TEXT = "Only one."


def talking(**about: Any) -> Voice:
    """Return an untrained voice whose texts sound different: it reads on, and what it reads makes a difference."""
    own = voice(**about)
    with torch.no_grad():
        own.network.gate.bias.fill_(-20)
        own.network.encoder.embedding.weight.mul_(20)
        own.network.projection.weight.mul_(3)
    return own


@dataclass
class Buzz:
    """A vocoder: each frame becomes a sample, many times. It waits while it is held, as a slow one does."""

    free: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, mel: Floats) -> Floats:
        self.begun.release()
        assert self.free.wait(120)
        return np.repeat(np.tanh(mel[:, 0]), 256).astype(np.float32)


@dataclass
class Served:
    """A server that runs."""

    port: int
    voice: Voice
    vocoder: Buzz
    speaker: Speaker
    interruption: Interruption
    thread: threading.Thread

    def speech(self, text: str = TEXT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return ask(self.port, "POST", "/", text.encode(), **headers)

    def openai(self, **asked: Any) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content_Type": "application/json"}
        return ask(self.port, "POST", "/v1/audio/speech", json.dumps({"model": "x", "voice": "alloy", **asked}), **headers)

    def metric(self, line: str) -> float:
        rows = ask(self.port, path="/metrics")[2].decode().splitlines()
        return float(next(row for row in rows if row.startswith(f"tacotune_{line} ")).rpartition(" ")[2])

    def stop(self) -> None:
        self.interruption.request()
        self.vocoder.free.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextmanager
def served(own: Voice | None = None, *, held: bool = False, limits: Limits | None = None, **more: Any) -> Iterator[Served]:
    """Run a server, and stop it at the end of the block."""
    own, vocoder = own or talking(), Buzz()
    if not held:
        vocoder.free.set()
    speaker, interruption = Speaker(own, vocoder, **{"tries": 1, **more}), Interruption(supervised=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        arguments = (speaker, "tiny", limits or Limits(), listener, interruption)
        thread = threading.Thread(target=lambda: run(serve(*arguments)), daemon=True)
        port = listener.getsockname()[1]
        thread.start()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert thread.is_alive()
        it = Served(port, own, vocoder, speaker, interruption, thread)
        try:
            yield it
        finally:
            it.stop()
