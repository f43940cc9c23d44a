"""The views of a study, each in a process of its own: they read what the study writes, so they cost the training nothing.

The command starts them and tells them through a pipe why it ends; a pipe that ends without a word says that it was killed.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from objective.runtime.processes import environment, python_module
from objective.settings.schema import Settings
from storage.paths import STORAGE_VARIABLE

BESIDE = "TACOTUNE_BESIDE"  # environment
LAST_WORDS_S = 5.0  # that the command waits for its views; they go on for as long as they need


def views(settings: Settings) -> dict[str, list[str]]:
    """By name, the module of each view that the settings ask for, and its arguments."""
    watch, where = settings.watch, ["--out", str(settings.out)]
    study = [*where, "--study", settings.study.name]
    known = {}
    if watch.dashboard is not None:
        known["dashboard"] = ["objective.dashboard", *where, "--port", str(watch.dashboard)]
    if watch.mlflow is not None:
        known["mlflow"] = ["objective.mlflow", *study]
    if watch.tensorboard:
        known["tensorboard"] = ["objective.tensorboard", *study]
    if watch.telegram:
        known["telegram"] = ["objective.telegram", *study, "--language", settings.telegram.language]
    return known


class Views:
    """Started at entry, told at exit `why` it was. `warn` is called, in a thread, where one of them ends before."""

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self.settings, self.warn = settings, warn
        self.why = ""
        self._ending = False
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for name, words in views(self.settings).items():
            self._start(name, words)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending = True
        said = " ".join((self.why or str(error or "")).split())
        for process in self._running:
            assert process.stdin is not None
            with suppress(OSError):  # it has ended
                process.stdin.write(said.encode("utf-8", "replace") + b"\n")
                process.stdin.close()
        until = time.monotonic() + LAST_WORDS_S
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))

    def _start(self, name: str, words: Sequence[str]) -> None:
        log = self.settings.folder / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        variables = {STORAGE_VARIABLE: self.settings.storage_url, BESIDE: "1"}
        if self.settings.watch.mlflow not in (None, "auto"):
            variables["MLFLOW_TRACKING_URI"] = str(self.settings.watch.mlflow)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*python_module(words[0]), *words[1:]],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=environment(**variables),
                start_new_session=True,  # Ctrl-C is for the study, which tells its views
            )
        self._running.append(process)
        threading.Thread(target=self._watch, args=(name, process, log), daemon=True).start()

    def _watch(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        code = process.wait()
        if code and not self._ending:
            self.warn(f"{name} ended with exit code {code}, the study goes on: see {log}")


class Command:
    """The command that a view runs beside, as the view sees it: `ended` is set when it is over, then `why` says so.

    Where somebody typed the view's own command, it never is.
    """

    def __init__(self) -> None:
        self.ended, self.why = threading.Event(), "killed"
        self.there = bool(os.environ.get(BESIDE))
        if self.there:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        self.why = sys.stdin.readline().strip() or self.why
        self.ended.set()
