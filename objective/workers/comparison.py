"""Compare two configurations, trained with several seeds, or two voices: the program of `compare` (objective/compare.py).

Each configuration is a study of its own, NAME-a and NAME-b, of trials that differ in nothing but their seeds.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from optuna.trial import FrozenTrial

from model.errors import BadInput
from model.files import atomic_write
from objective.display.difference import LEAST, Difference, difference
from objective.settings.device import probe
from objective.settings.flags import given_flags
from objective.settings.resolve import absent, resolve
from objective.settings.schema import Settings
from objective.speech.quality.pairs import compared, is_voice
from objective.views.pairs_page import Side, page
from objective.workers.session import run_session
from objective.workers.source import UNSEARCHED, Source, source_of_settings, source_of_trial
from storage.lookup import existing_study
from storage.outcome import finished
from storage.paths import OUT

# Figure -> the attribute of a trial; None: its value. Of all of them smaller is better.
FIGURES: dict[str, str | None] = {"value": None, "letters heard wrong": "free_errors", "faults": "free_failures"}


def run(parsed: argparse.Namespace) -> int:
    """Train both sides and print the result; return the exit code. Raises BadInput and the machine's errors."""
    if parsed.seeds < LEAST:
        raise BadInput(f"--seeds: need at least {LEAST}, got {parsed.seeds}: with fewer no difference can be told from chance")
    out, storage = Path(parsed.out or OUT), getattr(parsed, "study.storage")
    voices = [is_voice(name) for name in (parsed.a, parsed.b)]
    if any(voices):
        if not all(voices):
            raise BadInput(f"need two voices or two configurations, got {parsed.a} and {parsed.b}: compare like with like")
        found, html = compared(parsed, out)
        _show(parsed.name, out, (parsed.a, parsed.b), found, html)
        return 0
    sources = [_source(name, out, storage) for name in (parsed.a, parsed.b)]
    kframes = {str(source.settings.get("budget.kframes")) for source in sources}
    if len(kframes) > 1 and getattr(parsed, "budget.kframes") is None:
        raise BadInput(f"need one budget for both, got {' and '.join(sorted(kframes))} kframes: give --budget-kframes")
    sides = [_settings(source, letter, parsed) for source, letter in zip(sources, "ab", strict=True)]
    for settings in sides:
        code = run_session(settings.model_copy, parsed.typed, "compare")
        if code != 0:
            return code
    done = [_by_seed(settings) for settings in sides]
    if min(map(len, done)) < parsed.seeds:
        print("not all seeds are trained: the same command continues", file=sys.stderr)
        return 0
    named = zip((parsed.a, parsed.b), sides, done, strict=True)
    both = [Side(name, settings.folder, trials) for name, settings, trials in named]
    found = differences(*done)
    _show(parsed.name, out, (parsed.a, parsed.b), found, page(parsed.name, both, found))
    return 0


def _by_seed(settings: Settings) -> list[FrozenTrial]:
    study = existing_study(settings.storage_url, settings.study.name)
    return sorted(finished(study), key=lambda trial: int(trial.user_attrs["k"]))


def _source(name: str, out: Path, storage: str | None) -> Source:
    if Path(name).suffix in (".yaml", ".yml"):
        return source_of_settings(Path(name))
    study, _, number = name.partition(":")
    if number and not number.isdecimal():
        raise BadInput(f"need STUDY:N, got {name}: N is the number of a trial")
    return source_of_trial(study, int(number) if number else None, out, storage)


def _settings(source: Source, letter: str, parsed: argparse.Namespace) -> Settings:
    flags = given_flags(parsed) | {"study.name": f"{parsed.name}-{letter}", "study.trials": str(parsed.seeds)}
    gpu = flags.get("device") != "cpu" and bool(probe().usable)
    return resolve(None, parsed.set, flags, gpu=gpu, start=source.settings | UNSEARCHED, check=absent)


def _show(name: str, out: Path, sides: tuple[str, str], found: Sequence[Difference], html: str) -> None:
    """Print what was found, and write it as JSON and as a page to listen to."""
    print(f"\nA is {sides[0]}, B is {sides[1]}")
    for one in found:
        print(f"{one.figure}: {one.verdict}")
    texts = {".json": json.dumps([asdict(one) for one in found], indent=1), ".html": html}
    for suffix, text in texts.items():
        path = out / f"{name}{suffix}"
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8")
        print(f"written: {path}")


def differences(a: Sequence[FrozenTrial], b: Sequence[FrozenTrial]) -> list[Difference]:
    """Compare each figure that all trials of both sides have. A trial whose speech was not finite has no value."""
    found = []
    for figure, name in FIGURES.items():
        sides = [[trial.value if name is None else trial.user_attrs.get(name) for trial in trials] for trials in (a, b)]
        known = [[value for value in values if value is not None] for values in sides]
        if all(len(some) == len(values) for some, values in zip(known, sides, strict=True)):
            found.append(difference(figure, *known))
    if not found:
        raise BadInput("need trials that ended with a value on both sides, got some without: compare configurations that train")
    return found
