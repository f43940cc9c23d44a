"""Check a corpus: the program of `check` (objective/check.py)."""

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from model.data.limits import text_fault
from model.errors import BadInput
from model.text.frontend import decode, encode
from objective.runtime.written import writable, write
from objective.settings.flags import given_flags
from objective.settings.resolve import absent, resolve

if TYPE_CHECKING:
    from objective.settings.schema import Settings


def run(parsed: argparse.Namespace) -> int:
    """Check the corpus of the arguments, show and write what was found; return the exit code. Raises BadInput and OSError."""
    mistakes = writable((parsed.json, parsed.html))
    for flag in ("listen_kframes", "listen_minutes"):
        if not (getattr(parsed, flag) > 0 and math.isfinite(getattr(parsed, flag))):
            mistakes.append(
                f"--{flag.replace('_', '-')}: need a number above 0, got {getattr(parsed, flag):g}: give a larger one"
            )
    if mistakes:
        raise BadInput("\n".join(mistakes))
    if parsed.text is not None:
        return _say(parsed.text, _settings(parsed, gpu=False))
    from objective.checking.look import Listen, look  # loads torch
    from objective.checking.show import page, terminal
    from objective.settings.device import device_of, probe

    settings = _settings(parsed, gpu=bool(probe().usable))
    if settings.data.path is None:
        raise BadInput("need recordings to look at, got none: give --data PATH")
    listen = Listen(parsed.listen, parsed.listen_kframes, 60 * parsed.listen_minutes)
    report = look(settings, device_of(settings.device), listen, parsed.network, parsed.probe)
    print("\n".join(terminal(report)))
    write(parsed.json, lambda: json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    write(parsed.html, lambda: page(report, settings.audio))
    return report.exit_code


def _settings(parsed: argparse.Namespace, gpu: bool) -> "Settings":
    flags = given_flags(parsed) | ({"data.columns": parsed.columns} if parsed.columns is not None else {})
    return resolve(parsed.settings, parsed.set, flags, gpu=gpu, check=absent if parsed.text is None else lambda settings: ())


def _say(text: str, settings: "Settings") -> int:
    """Print how a text is read, or on stderr why it cannot be."""
    encoded = encode(text, settings.data.spoken())
    fault = text_fault(encoded, settings.data.limits)
    if encoded.dropped and not fault:
        fault = "characters without a symbol", f"{encoded.dropped!r}; write out what is said"
    if fault:
        print(": ".join(fault), file=sys.stderr)
        return 1
    print(" ".join(decode(encoded).split()))
    return 0
