"""Register versions of a voice, promote one that passes its gates, and go back: the program of `registry`."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch

from model.checkpoints import digest
from model.errors import BadInput
from model.vocoders.loading import GRIFFIN_LIM, load_vocoder
from model.voice import Voice
from objective.display.formatting import one_line
from objective.speech.find import find, suit_threads
from objective.speech.quality.figures import FORMAT
from objective.speech.registry.gates import QUALITY, TRAINING, Row, rows
from objective.speech.registry.store import CHAMPION, PREVIOUS, ROLLED_BACK, Reference, Registry, Version
from objective.speech.self_check import fault

CPU = torch.device("cpu")


def run(parsed: argparse.Namespace) -> int:
    """Do what the arguments say; return 1 for a version that does not pass its gates. Raises BadInput and OSError."""
    if parsed.what == "register":
        return _register(parsed)
    registry = Registry(parsed.mlflow, parsed.out)
    if parsed.what == "list":
        return _list(registry.versions(parsed.name))
    if parsed.what == "promote":
        return _promote(registry, registry.version(Reference(parsed.name, str(parsed.version))))
    return _roll_back(registry, registry.version(Reference(parsed.name, CHAMPION)), parsed.why)


def _register(parsed: argparse.Namespace) -> int:
    found = find(parsed.voice, parsed.trial, parsed.out, parsed.storage)
    voice = Voice.load(found.path)
    quality = {} if parsed.quality is None else _quality(parsed.quality, digest(voice.network.state_dict()))
    about = {"from": found.note, "language": voice.language.code}
    about |= {name: voice.about[name] for name in ("study", "trial", "licence", "kframes") if name in voice.about}
    figures = {TRAINING: voice.about.get("figures", {}), QUALITY: quality}
    version = Registry(parsed.mlflow, parsed.out, new=True).register(parsed.name, voice, dict(_flat(about | figures)))
    print(f"{version} is registered; next: tacotune registry promote {version.name} {version.number}")
    return 0


def _quality(path: Path, weights: str) -> dict[str, Any]:
    """Return the figures of a JSON of `tacotune quality`. Raises BadInput for another file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as why:
        raise BadInput(f"--quality: need a file that can be read, got {path}: {why.strerror}: check the path") from why
    except ValueError as why:
        raise BadInput(
            f"--quality: need the JSON of `tacotune quality`, got {path}, which is none: {one_line(str(why))}"
        ) from why
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BadInput(
            f"--quality: need the JSON of `tacotune quality --json`, got {path}, another one: measure the voice with it"
        )
    if values.get("weights") != weights:
        raise BadInput(f"--quality: need figures of this voice, got those of another, {values.get('voice')}: measure this one")
    return {name: value for name, value in values.items() if name != "format"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested dictionaries by their dotted names; lists and what was not measured are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float):
            yield f"{prefix}{name}", str(value)


def _list(versions: Sequence[Version]) -> int:
    lines = [("version", "alias", "understood", "stops", "gates", "from")]
    for version in versions:
        found = {row.gate: row for row in rows(version.tags)}
        closed = ", ".join(row.gate for row in found.values() if row.closed)
        back = f", rolled back {version.tags[ROLLED_BACK]}" if ROLLED_BACK in version.tags else ""
        lines.append(
            (
                str(version.number),
                ", ".join(version.aliases) or "-",
                found["understood"].value,
                found["stops"].value,
                f"closed: {closed}" if closed else "open",
                f"{version.tags.get('from', '-')}{back}",
            )
        )
    print(_table(lines))
    return 0


def _promote(registry: Registry, version: Version) -> int:
    found = [*rows(version.tags), _speech(registry, version)]
    print(_table([("gate", "figure", "limit", "value", ""), *(astuple(row)[:5] for row in found)]))
    failed = [row.gate for row in found if row.outcome == "failed"]
    unmeasured = [row.gate for row in found if row.outcome == "not measured"]
    needed = [row.gate for row in found if row.closed and row.outcome == "not measured"]
    if failed or needed:
        why = [f"failed {', '.join(failed)}"] if failed else []
        if needed:
            why.append(f"{' and '.join(needed)} must be measured: register it with --quality")
        print(f"{version} is not promoted: {'; '.join(why)}", file=sys.stderr)
        return 1
    before = registry.promote(version)
    then = f"{before} is {PREVIOUS}" if before else "as before" if CHAMPION in version.aliases else "the first one"
    missing = f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""
    print(f"{version} is the {CHAMPION}, {then}{missing}")
    return 0


def _speech(registry: Registry, version: Version) -> Row:
    """Load the version as a server would, and let it say a sentence."""
    try:
        voice = registry.voice(version, CPU)
        suit_threads(voice, CPU)
        found = "finite" if fault(voice, load_vocoder(GRIFFIN_LIM, voice.config.audio)) is None else "not finite"
    except BadInput as why:
        print(why, file=sys.stderr)
        found = "cannot be loaded"
    return Row("speech", "a sentence, said by this command", "finite", found, "passed" if found == "finite" else "failed")


def _roll_back(registry: Registry, champion: Version, why: str) -> int:
    before = registry.roll_back(champion, why)
    if before is None:
        raise BadInput(f"need a version before {champion}, there is none to go back to: promote another one")
    print(f"{before} is the {CHAMPION} again instead of {champion}: {one_line(why)}")
    return 0


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in padded)
