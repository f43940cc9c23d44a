"""Say the texts of many requests with one voice: what waits is said in batches, by one thread that owns the network."""

import asyncio
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from model.audio import Floats
from model.errors import BadInput
from model.text.frontend import encode
from model.text.sentences import Piece
from model.vocoders.loading import Vocoder
from model.voice import Utterance, Voice
from objective.runtime.errors import cause, gpu_failure

MOST_SYMBOLS = 1_000  # of a piece: a number of 2,000 digits is one word of 10,000 letters, which would take gigabytes
BATCH_SYMBOLS = 4_000  # of a batch, padding included: its attention then takes at most 320 MB


class QueueFull(Exception):
    """As many requests wait as are permitted. `retry_s`: seconds after which there is room again, as far as is known."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"need room in the queue, it is full: try again in {retry_s} s")
        self.retry_s = retry_s


class SpeakingFailed(Exception):
    """A text could not be said, and the client is not to blame."""


@dataclass(frozen=True, slots=True)
class Said:
    """A text as it was said."""

    wave: Floats  # (S,)
    faults: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Request:
    done: asyncio.Future[Said]
    pieces: list[tuple[Piece, int]] = field(default_factory=list)  # with the symbols of each
    taken: int = 0  # pieces that have been in a batch
    waves: list[Floats] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Speaker:
    """Says texts. `run` has to run in the same event loop; `close` ends its thread.

    queue: requests at a time. batch: pieces said together. tries: of a piece with a fault.
    """

    def __init__(self, voice: Voice, vocoder: Vocoder, *, queue: int = 64, batch: int = 16, tries: int = 3) -> None:
        self.voice, self.vocoder = voice, vocoder
        self.queue, self.batch, self.tries = queue, batch, tries
        self.busy_s = self.speech_s = 0.0  # of the thread, of what it has said
        self.batches = self.said = 0  # `said`: pieces
        self._requests: list[_Request] = []  # in the order of their arrival
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "voice")

    @property
    def waiting(self) -> int:
        """The requests that have no answer yet."""
        return len(self._requests)

    async def say(self, text: str) -> Said:
        """Say a text. Raises QueueFull, SpeakingFailed, and BadInput for a text that cannot be said.

        A call that is cancelled makes room at once; what of it is being said is still said.
        """
        if self.waiting >= self.queue:
            raise QueueFull(self._retry_s())
        request = _Request(asyncio.get_running_loop().create_future())
        self._requests.append(request)
        try:
            request.pieces = await asyncio.to_thread(self._divided, text)
            self._arrived.set()
            return await request.done
        finally:
            self._requests.remove(request)

    async def run(self) -> None:
        """Say what arrives, for ever. Raises the error of a GPU that failed: this process cannot use it again."""
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if not batch:
                self._arrived.clear()
                continue
            saying = asyncio.wrap_future(self._thread.submit(self._say, [piece for _, piece in batch]))
            await asyncio.wait([saying])
            why = saying.exception()
            if why is None:
                for (request, _), (utterance, wave) in zip(batch, saying.result(), strict=True):
                    _keep(request, utterance, wave)
                continue
            print(f"{len(batch)} sentences could not be said: {cause(why)}", file=sys.stderr, flush=True)
            for request, _ in batch:
                _fail(request, "need a voice that can say this, the server failed: try again, or see what it printed")
            if gpu_failure(why):
                raise why

    def close(self) -> None:
        """Wait until the thread has ended."""
        self._thread.shutdown()

    def _divided(self, text: str) -> list[tuple[Piece, int]]:
        """Return the pieces of a text with their symbols. Raises BadInput."""
        found = [(piece, len(encode(piece.text, self.voice.language).ids)) for piece in self.voice.pieces(text)]
        longest = max(symbols for _, symbols in found)
        if longest > MOST_SYMBOLS:
            rule = f"need words and numbers that are read in {MOST_SYMBOLS:,} letters or fewer"
            raise BadInput(f"{rule}, got one of {longest:,}: put spaces into it")
        return found

    def _next_batch(self) -> list[tuple[_Request, Piece]]:
        """Take a piece of each request, the oldest first, then another one of each, until the batch is full."""
        waiting = deque(it for it in self._requests if it.taken < len(it.pieces) and not it.done.done())
        batch: list[tuple[_Request, Piece]] = []
        longest = 0
        while waiting and len(batch) < self.batch:
            request = waiting.popleft()
            piece, symbols = request.pieces[request.taken]
            longest = max(longest, symbols)
            if batch and longest * (len(batch) + 1) > BATCH_SYMBOLS:
                break
            batch.append((request, piece))
            request.taken += 1
            if request.taken < len(request.pieces):
                waiting.append(request)
        return batch

    def _say(self, batch: list[Piece]) -> list[tuple[Utterance, Floats | None]]:
        """Return the utterances with their waves, None where the mel is not finite. Runs in the thread."""
        began = time.perf_counter()
        said = self.voice.say_batch(batch, tries=self.tries)
        waves = [self.voice.wave(one, self.vocoder) if np.isfinite(one.mel).all() else None for one in said]
        self.busy_s += time.perf_counter() - began
        self.speech_s += sum(len(wave) for wave in waves if wave is not None) / self.voice.rate_hz
        self.batches, self.said = self.batches + 1, self.said + len(batch)
        return list(zip(said, waves, strict=True))

    def _retry_s(self) -> int:
        """Return the seconds in which half of what waits will be said, at the pace until now."""
        left = sum(len(request.pieces) - request.taken for request in self._requests)
        return max(1, ceil(left / 2 * self.busy_s / max(1, self.said)))


def _keep(request: _Request, utterance: Utterance, wave: Floats | None) -> None:
    """Add a piece to its request, which is answered with its last one."""
    if wave is None:
        _fail(request, "need a voice whose mels are finite, got one that is not: choose another voice")
        return
    request.waves.append(wave)
    request.faults += utterance.faults
    if len(request.waves) == len(request.pieces) and not request.done.done():
        request.done.set_result(Said(np.concatenate(request.waves), tuple(dict.fromkeys(request.faults))))


def _fail(request: _Request, sentence: str) -> None:
    if not request.done.done():
        request.done.set_exception(SpeakingFailed(sentence))
