"""Parse the arguments of a command and start its program.

A command is a parser, which loads nothing heavy so that `--help` answers at once, and a program: a module with a function
`run(parsed) -> exit code`, imported once the arguments have been accepted.
"""

import argparse
import difflib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from objective.runtime.signals import SIGNALS
from storage.paths import OUT, STORAGE_VARIABLE, STUDY

FRONT_DOOR = "tacotune"  # the console script


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with the nearest known flag, instead of a page of usage."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unknown argument {flag}{did_you_mean(flag, self._option_string_actions)}")  # its value may be a secret
        return parsed

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line: its parser and its program.

    name: as in `tacotune NAME` and `python -m objective.NAME`. program: the module whose `run` does the work. about: what
    `--help` prints. arguments: adds the command's own arguments to its parser.
    """

    name: str
    program: str
    about: str
    arguments: Callable[[argparse.ArgumentParser], None]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Parse, run, and return the exit code: 0 done, 1 the machine failed, 2 bad input, 130 interrupted."""
        typed = list(sys.argv[1:] if arguments is None else arguments)
        parser = Parser(
            prog=typed_name(self.name),
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.arguments(parser)
        parsed = parser.parse_args(typed)
        parsed.typed = typed
        with interruptible():
            try:
                endings = import_module("objective.runtime.endings")  # imports the databases' exceptions: a second
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                return 130
            return int(endings.run(self.program, parsed))


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt as Ctrl-C does, until the program handles them itself: loading it takes seconds."""
    unhandled = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    before = {number: signal.signal(number, signal.default_int_handler) for number in unhandled}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is signal.default_int_handler:  # a program that is ending may ignore further signals
                signal.signal(number, handler)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: `: did you mean --trials?`, or "" where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def typed_name(name: str) -> str:
    """Return a command in the form in which this process was started: `tacotune NAME` or `python -m objective.NAME`."""
    return f"{FRONT_DOOR} {name}" if Path(sys.argv[0]).stem == FRONT_DOOR else f"python -m objective.{name}"


def as_typed(name: str) -> str:
    """Return the same, ready to be typed in this environment: with the program's path where the shell needs it."""
    program, _, rest = typed_name(name).partition(" ")
    return f"{in_this_environment(program)} {rest}"


def in_this_environment(program: str) -> str:
    """Return how to type a program of this Python environment: its path, unless the shell finds it by its name."""
    path = Path(sys.executable).with_name(program)
    if not path.exists() or shutil.which(program) == str(path):
        return program
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"folder of all studies (default {OUT})")


def add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", default=STUDY, metavar="NAME", help=f"name of the study (default {STUDY})")


def add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage",
        default=os.environ.get(STORAGE_VARIABLE),
        metavar="URL",
        help="database of the study (default: the SQLite file tacotune.db under --out)",
    )


def add_view(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that the commands of all views have which follow a study (objective/views/follow.py)."""
    add_study(parser)
    add_out(parser)
    parser.add_argument("--once", action="store_true", help="show what there is, then end")
