"""More workers on one device: where a trial cannot fill a GPU, several share it (`--trials-per-gpu`).

A companion is the same command once more, in a process group of its own, with its display in `worker-N.log`. All that it shares
with the others is the study's storage. This process hands Ctrl-C on: a second signal would end a companion at once.
"""
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from objective.events import Warned
from objective.sinks.fan import Sinks

PATIENCE_S = 30  # that a companion has to release its trial after it was asked to stop


class Companions:
    """A context manager: `count` workers beside this one, which have ended when it is left."""

    def __init__(self, words: Sequence[str], count: int, folder: Path, sinks: Sinks) -> None:
        self.command = [sys.executable, "-m", "objective.study", *words, "--trials-per-gpu", "1", "--quiet"]
        self.count, self.folder, self.sinks = count, folder, sinks
        self.running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> "Companions":
        for place in range(self.count):
            log = (self.folder / f"worker-{place + 1}.log").open("ab")
            try:
                companion = subprocess.Popen(
                    self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError:
                self.stop()
                raise
            self.running.append((companion, log))
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """After the work, wait for trials that still run; after an interruption or a failure, ask for a clean end."""
        if failure is not None:
            self.stop()
        try:
            codes = [companion.wait() for companion, log in self.running]
        finally:  # a second Ctrl-C, too, leaves none behind
            self.stop()
        for code, (_companion, log) in zip(codes, self.running, strict=True):
            log.close()
            if code not in (0, 130, -signal.SIGTERM):
                self.sinks.emit(Warned(f"a worker beside this one ended with exit code {code}: see {log.name}"))

    def stop(self) -> None:
        """End every companion's trial as an interruption does."""
        for companion, _ in self.running:
            companion.terminate()
        for companion, _ in self.running:
            try:
                companion.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                companion.kill()
