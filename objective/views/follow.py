"""Follow a study from a view: read its lines about every second, show what is new, until the study or a person ends it.

A view holds nothing that could be lost. Where its destination is away (a server, a folder), that is reported once, it is tried
again with growing pauses, and then everything is compared once more. One process of a kind works on a study at a time, by a
lock that the system releases with the process; the others wait for it.
"""

import argparse
import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from objective.events.log_reader import StudyLog, open_study_log
from objective.runtime.signals import Interruption
from objective.views.launcher import StudyCommand

LOOK_S = 1.0  # between two looks
SLOWEST_S = 30.0  # the same, while the destination is away
LAST_S = 60.0  # that a view has for the rest once the study's command has ended


class Away(Exception):
    """The destination of a view does not answer. The message names it and says why, without a password."""


class View(Protocol):
    """Shows a study at its destination."""

    name: str

    def intact(self) -> bool:
        """Return False where what was shown has been taken away, so that all of it is to be shown again."""
        ...

    def show(self, number: int | None) -> None:
        """Make the destination hold all that the log says of a trial, or of the study (None). Raises Away.

        Showing it twice, or being killed and showing it again, has the same result as showing it once.
        """
        ...

    def command_lost(self, why: str) -> None:
        """The study's command is over, and the log does not say so: it was killed, or failed. Raises Away."""
        ...


def follow(name: str, parsed: argparse.Namespace, view_of: Callable[[StudyLog], View], lock: str, opened: str) -> int:
    """Show the study of `--study` until it is ended, or what there is (`--once`). Returns the exit code; 0 after Ctrl-C.

    lock: name of the file in the study's folder that only one process of this kind holds. opened: how a person opens the view.
    """
    command = StudyCommand()
    with Interruption():
        try:
            study_log = open_study_log(parsed.out, parsed.study)
            held = _hold(study_log.folder / lock, name, parsed.once, command.ended)
            if held is None:
                return 0
            with held:
                if not command.present:  # which has printed it
                    print(f"{name}: {opened}", flush=True)
                threading.Thread(target=_hurry, args=(name, command.ended), daemon=True).start()
                return _loop(study_log, view_of(study_log), parsed.once, command)
        except KeyboardInterrupt:
            return 0


def _loop(study_log: StudyLog, view: View, once: bool, command: StudyCommand) -> int:
    due: dict[int | None, None] = {}
    away, wait, torn = False, LOOK_S, 0
    while True:
        over = once or command.ended.is_set()  # before the look, which then sees all there will be
        due |= dict.fromkeys(study_log.look())
        if study_log.torn > torn:
            torn = study_log.torn
            report(f"{view.name}: lines torn by a crash, left out: {torn}")
        try:
            if not view.intact():
                due = _all(study_log)
            while due:
                view.show(next(iter(due)))
                del due[next(iter(due))]
            if command.ended.is_set() and over and study_log.end is None:
                view.command_lost(command.why)
        except Away as why:
            if once:
                report(f"{view.name}: {why}: the same command catches up later")
                return 1
            if not away:
                report(f"{view.name}: {why}: the study continues, and what is pending is shown once that is fixed")
            away, wait, due = True, min(2 * wait, SLOWEST_S), _all(study_log)
        else:
            if away:
                report(f"{view.name}: back again, and up to date")
            if over:
                return 0
            away, wait = False, LOOK_S
        if over:
            time.sleep(LOOK_S)  # little time is left, see _hurry
        else:
            command.ended.wait(wait)


def _all(study_log: StudyLog) -> dict[int | None, None]:
    return dict.fromkeys([None, *study_log.trials])


def _hold(path: Path, name: str, once: bool, ended: threading.Event) -> IO[bytes] | None:
    """Return the lock once this process holds it; None if another one keeps it to the end."""
    file, reported = path.open("ab"), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if not reported:
                report(f"{name}: another process shows this study" + ("" if once else ": this one waits to take over"))
            reported = True
            if once or ended.wait(LOOK_S):
                file.close()
                return None


def _hurry(name: str, ended: threading.Event) -> None:
    """In a thread: end the process where the rest cannot be shown in time. What it writes survives that at any moment."""
    ended.wait()
    time.sleep(LAST_S)
    report(f"{name}: not all could be shown {LAST_S:.0f} s after the end: the same command, typed later, catches up")
    os._exit(1)


def report(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
