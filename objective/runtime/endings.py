"""End a command: one table from exceptions to an exit code and a sentence. All other exceptions are bugs with a traceback."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module

from model.errors import BadInput
from objective.runtime.errors import MACHINE, machine_failure

Sentence = Callable[[BaseException], str | None]

FIRST_RANK_S = 20.0  # for which torchrun's other processes wait, so that the first one can print the error


def _machine_sentence(why: BaseException) -> str | None:
    failure = machine_failure(why)
    return failure and f"the machine failed: {failure}: fix that, then type the same command again to continue"


# Exceptions, exit code, sentence; an exception whose sentence is None is a bug after all.
ENDINGS: tuple[tuple[tuple[type[BaseException], ...], int, Sentence], ...] = (
    ((BadInput,), 2, str),
    ((KeyboardInterrupt,), 130, lambda why: "interrupted"),
    (MACHINE, 1, _machine_sentence),
)
KNOWN = tuple(kind for kinds, _, _ in ENDINGS for kind in kinds)


def run(program: str, parsed: argparse.Namespace) -> int:
    """Import the module `program`, call its `run(parsed)`, and return the exit code of the command."""
    try:
        return int(import_module(program).run(parsed))
    except KNOWN as why:
        code, sentence = ending(why)
        if sentence is None:
            raise
        if isinstance(why, KeyboardInterrupt) or not _ended_by_the_first_rank():
            print(sentence, file=sys.stderr)
        return code


def ending(why: BaseException) -> tuple[int, str | None]:
    """Return the exit code and the sentence of an exception; the sentence is None for a bug."""
    for kinds, code, sentence in ENDINGS:
        if isinstance(why, kinds):
            return code, sentence(why)
    return 1, None


def _ended_by_the_first_rank() -> bool:
    """Wait on torchrun's ranks above 0, and return whether the first rank has ended them meanwhile: it has the same message."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0":
        try:
            time.sleep(FIRST_RANK_S)
        except KeyboardInterrupt:  # torchrun ends all ranks as soon as one has ended
            return True
    return False
