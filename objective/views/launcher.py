"""Start the views of a study, each in a process of its own: they read what the study writes, so they cost the training nothing.

The study command starts them, and tells them through a pipe why it ends; a pipe that closes without a message means that it was
killed. Which views there are is in objective/settings/views.py.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from objective.runtime.cli import in_this_environment
from objective.runtime.processes import environment, python_module
from objective.settings.schema import Settings, mask_url
from objective.settings.views import VIEWS, View
from storage.paths import STORAGE_VARIABLE

FROM_STUDY = "TACOTUNE_FROM_STUDY"  # environment of a view that a study command has started
LAST_LOOK_S = 5.0  # for which the study command waits for its views; they continue for as long as they need


def switched_on(settings: Settings) -> list[View]:
    """Return the views that the settings ask for."""
    return [view for view in VIEWS.values() if getattr(settings.watch, view.name) not in (None, False)]


def how_to_open(settings: Settings, study_id: int) -> tuple[str, ...]:
    """Return how to open each view that the settings ask for, one line each, as `dashboard: http://...`."""
    lines = []
    for view in switched_on(settings):
        text = view.how_to_open(getattr(settings.watch, view.name), settings.out, study_id)
        if text is not None:
            lines.append(f"{view.name}: {ready_to_type(text)}")
    return tuple(lines)


def ready_to_type(text: str) -> str:
    """Return an address as it is, or a command with the path of its program; both without passwords."""
    program, _, rest = mask_url(text).partition(" ")
    return mask_url(text) if "://" in program else f"{in_this_environment(program)} {rest}"


class Views:
    """A context manager: the views run inside it, and receive `why` the study ended at its exit.

    `warn` is called, in a thread, where one of them ends before.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self.settings, self.warn = settings, warn
        self.why = ""
        self._ending = False
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for view in switched_on(self.settings):
            self._start(view)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending = True
        message = " ".join((self.why or str(error or "")).split())
        for process in self._running:
            assert process.stdin is not None
            with suppress(OSError):  # it has ended
                process.stdin.write(message.encode("utf-8", "replace") + b"\n")
                process.stdin.close()
        deadline = time.monotonic() + LAST_LOOK_S
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def _start(self, view: View) -> None:
        settings = self.settings
        log = settings.folder / f"{view.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ["--out", str(settings.out), "--study", settings.study.name, *view.arguments(settings)]
        variables = {STORAGE_VARIABLE: settings.storage_url, FROM_STUDY: "1", **view.environment(settings)}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*python_module("objective"), view.name, *arguments],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=environment(**variables),
                start_new_session=True,  # Ctrl-C is for the study, which tells its views
            )
        self._running.append(process)
        threading.Thread(target=self._watch, args=(view.name, process, log), daemon=True).start()

    def _watch(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        code = process.wait()
        if code and not self._ending:
            self.warn(f"{name} ended with exit code {code}, the study continues: see {log}")


class StudyCommand:
    """The study command that has started this view: `ended` is set when it is over, and `why` then says how it ended.

    A view that was started by hand has none: `present` is false, and `ended` is never set.
    """

    def __init__(self) -> None:
        self.ended, self.why = threading.Event(), "killed"
        self.present = bool(os.environ.get(FROM_STUDY))
        if self.present:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        self.why = sys.stdin.readline().strip() or self.why
        self.ended.set()
