"""How a view follows a study: it looks at the lines about every second and shows what is new, until it is told to end.

A view holds nothing that it could lose. Where its destination is away (a server, a folder), that is said once, tried again with
growing pauses, and then everything is compared once more. One process of a kind works on a study at a time, by a lock that the
system releases with the process; the others wait for it.
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

from objective.events.log_reader import NoStudyLog, StudyLog, open_study_log
from objective.runtime.signals import Interruption
from objective.views.launcher import Command

LOOK_S = 1.0  # between two looks
SLOWEST_S = 30.0  # the same, while the destination is away
LAST_S = 60.0  # that a view has for the rest once the study's command has ended


class Away(Exception):
    """The destination of a view does not answer. Its message says which, and why, without a password."""


class View(Protocol):
    name: str

    def there(self) -> bool:
        """False where what was shown has been taken away, so that all of it is to be shown again."""
        ...

    def show(self, number: int | None) -> None:
        """Make the destination hold all that the study_log says of a trial, or of the study (None). Raises Away.

        Shown twice, or broken off and shown again, it comes to the same.
        """
        ...


def words(about: str | None) -> argparse.ArgumentParser:
    """What the commands of all views understand."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the studies (default runs)")
    return parser


def follow(name: str, parsed: argparse.Namespace, view_of: Callable[[StudyLog], View], lock: str) -> int:
    """Show the study of `--study` until somebody ends it, or what there is (`--once`). Returns the exit code.

    lock: name of the file in the study's folder that only one process of this kind holds.
    """
    command = Command()
    with Interruption():
        try:
            study_log = open_study_log(parsed.out, parsed.study)
            held = _hold(study_log.folder / lock, name, parsed.once, command.ended)
            if held is None:
                return 0
            with held:
                threading.Thread(target=_hurry, args=(name, command.ended), daemon=True).start()
                return _loop(study_log, view_of(study_log), parsed.once, command.ended)
        except NoStudyLog as why:
            say(str(why))
            return 2
        except (OSError, ImportError) as why:  # a database may want a driver that is not installed
            say(f"{name}: the machine failed: {why}: mend that, the same command goes on")
            return 1
        except KeyboardInterrupt:
            return 0


def _loop(study_log: StudyLog, view: View, once: bool, ended: threading.Event) -> int:
    due: dict[int | None, None] = {}
    away, wait, torn = False, LOOK_S, 0
    while True:
        over = once or ended.is_set()  # before the look, which then sees all there will be
        due |= dict.fromkeys(study_log.look())
        if study_log.torn > torn:
            torn = study_log.torn
            say(f"{view.name}: lines that a crash has torn, left out: {torn}")
        try:
            if not view.there():
                due = _all(study_log)
            while due:
                view.show(next(iter(due)))
                del due[next(iter(due))]
        except Away as why:
            if once:
                say(f"{view.name}: {why}: the same command catches up later")
                return 1
            if not away:
                say(f"{view.name}: {why}: the study goes on, and what is due is shown once that is mended")
            away, wait, due = True, min(2 * wait, SLOWEST_S), _all(study_log)
        else:
            if away:
                say(f"{view.name}: there again, and up to date")
            if over:
                return 0
            away, wait = False, LOOK_S
        if over:
            time.sleep(LOOK_S)  # little time is left, see _hurry
        else:
            ended.wait(wait)


def _all(study_log: StudyLog) -> dict[int | None, None]:
    return dict.fromkeys([None, *study_log.trials])


def _hold(path: Path, name: str, once: bool, ended: threading.Event) -> IO[bytes] | None:
    """The lock, when it is ours; None where another process has it to the end."""
    file, said = path.open("ab"), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if not said:
                say(f"{name}: another process shows this study" + ("" if once else ": this one waits to take over"))
            said = True
            if once or ended.wait(LOOK_S):
                file.close()
                return None


def _hurry(name: str, ended: threading.Event) -> None:
    """In a thread: ends the process where the rest cannot be shown in time. What it writes bears that at any moment."""
    ended.wait()
    time.sleep(LAST_S)
    say(f"{name}: not all could be shown {LAST_S:.0f} s after the end: the same command, typed later, catches up")
    os._exit(1)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
