"""From what a person wrote to the settings: defaults < profile < YAML file < `--set` < flags, with every mistake at once."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic import ValidationError

from objective.settings.flags import FLAGS
from objective.settings.schema import PROFILES, Settings, SettingsError, mask_url
from objective.settings.telegram_env import Setup, SetupError
from search_spaces.space import load
from search_spaces.validate import SpaceError
from search_spaces.yaml_reader import nearest, parse, read

_FLAG_OF = {flag.key: name for name, flag in FLAGS.items()} | {"quiet": "--quiet"}
_SECRET = re.compile(r"(?i)token|passw|secret|credential|api_?key")


def resolve(
    settings_file: Path | None,
    assignments: Sequence[str],
    flags: Mapping[str, Any],
    *,
    gpu: bool,
    check: Callable[[Settings], Iterable[str]] = lambda settings: (),
) -> Settings:
    """The settings of a run. SettingsError with all mistakes.

    `assignments` are the `key=value` of `--set`; `flags` are values by dotted key, None where a flag was not given; `gpu` says
    whether there is one: with it and with a corpus of one's own the profile is full, else demo, unless somebody says which.
    `check` looks for mistakes outside of the tree (`absent`), in what is left of it without those inside.
    """
    mistakes: list[str] = []
    given: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, key, value in (
        *_from_file(settings_file, mistakes),
        *_from_assignments(assignments, mistakes),
        *((_FLAG_OF.get(key, key), key, value) for key, value in flags.items() if value is not None),
    ):
        misfit = _misfit(key, value)
        if misfit:
            mistakes.append(f"{where}: {key}: {misfit}")
        else:
            given[key], origin[key] = value, where
    if given.get("profile", "auto") == "auto":
        own_data_on_gpu = gpu and given.get("device") != "cpu" and given.get("data.path") is not None
        given["profile"] = "full" if own_data_on_gpu else "demo"
    base = _DEFAULTS | PROFILES.get(str(given["profile"]), {})
    while True:
        try:
            settings = Settings.model_validate(_nest(base | given))
            break
        except ValidationError as error:
            # What is wrong is taken out and the rest looked at again: no mistake hides behind another.
            blamed = [(sentence, _blamed(place, sentence, given)) for place, sentence in _sentences(error)]
            if not all(keys for _, keys in blamed):
                raise  # the defaults contradict each other: nobody's mistake but ours
            for sentence, keys in blamed:
                where = ", ".join(dict.fromkeys(origin[key] for key in keys))
                mistakes.append(f"{where}: {', '.join(keys)}: {sentence}")
            for key in {key for _, keys in blamed for key in keys}:
                del given[key]
    mistakes += check(settings)
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def absent(settings: Settings) -> Iterator[str]:
    """What the settings name and this machine lacks: recordings, a checkpoint, a search space, a folder to write to, a GPU."""
    path, out = settings.data.path, settings.out
    if path is not None:
        try:
            path.stat()
        except OSError as error:
            yield f"data.path: need a folder or a list of recordings, got {path.absolute()}: {_why(error)}"
    pretrained = settings.study.warm_start
    if pretrained is not None:
        try:
            pretrained.open("rb").close()
        except OSError as error:
            yield f"study.warm_start: need a checkpoint, got {pretrained.absolute()}: {_why(error)}"
    if settings.watch.telegram:
        try:
            Setup.read()
        except SetupError as error:
            yield f"watch.telegram: {error}"
    try:
        load(settings.study.space, settings.config())
    except SpaceError as error:
        yield from str(error).splitlines()
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        yield f"out: need a folder that can be written to, got {out.absolute()}: {_why(error)}"
    if settings.device == "cuda" and settings.study.ray is None:  # Ray's workers may have what this machine lacks
        from objective.settings.device import device_of  # imports torch, which takes seconds

        try:
            device_of(settings.device)
        except SettingsError as error:
            yield from error.mistakes


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _from_file(path: Path | None, mistakes: list[str]) -> Iterator[tuple[str, str, Any]]:
    """(where, key, value) of a YAML file, whose keys may be nested, dotted or both."""
    if path is None:
        return
    try:
        table = read(path) or {}
        if not isinstance(table, Mapping):
            raise ValueError(f"need `key: value` lines, got {type(table).__name__}")
    except ValueError as error:
        mistakes.append(f"{path}: {error}")
        return
    seen = set()
    for key, value in _flatten(table):
        if key in seen:
            mistakes.append(f"{path}: {key}: stands here twice, nested and dotted: keep one")
        seen.add(key)
        if value is not None or key not in _GROUPS:  # a group whose lines are all commented out says nothing
            yield str(path), key, value


def _from_assignments(assignments: Sequence[str], mistakes: list[str]) -> Iterator[tuple[str, str, Any]]:
    """(where, key, value) of each `key=value`; the value is YAML, so that lists, numbers and null can be said."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        try:
            if not equals or not key.strip():
                raise ValueError(f"need key=value, got {'no key' if equals else 'no `=`'}")
            yield "--set", key.strip(), parse(text)
        except ValueError as error:
            shown = "(not shown)" if not equals and _SECRET.search(key) else key.strip()
            mistakes.append(f"--set: {shown}: {error}")


def _misfit(key: str, value: Any) -> str | None:
    """Why this key cannot be set, or not to anything like this value."""
    if key in _GROUPS:
        return f"is a group, need one of its knobs: {', '.join(known for known in _DEFAULTS if known.startswith(f'{key}.'))}"
    if key not in _DEFAULTS:
        if _SECRET.search(key):
            return "secrets come from the environment only: remove it here"
        close = nearest(key, _DEFAULTS if "." in key else [*_GROUPS, *_DEFAULTS])
        top = [known for known in dict.fromkeys([*_GROUPS, *_DEFAULTS]) if "." not in known]
        return f"unknown: did you mean {close}?" if close else f"unknown: need one of {', '.join(top)}, or of their knobs"
    if value == "":
        return "need a value, got nothing: leave it out for the default"
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):  # bytes of the command line that are no UTF-8
        return f"need UTF-8, got {value!r}: rename it"
    # pydantic takes true for 1, and inside of the configuration's dataclasses infinity for a number.
    numeric = type(_DEFAULTS[key]) in (int, float)
    if numeric and (isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))):
        return f"need a finite number, got {value} (default {_DEFAULTS[key]})"
    return None


def _sentences(error: ValidationError) -> Iterator[tuple[str, str]]:
    """(dotted place, sentence) of each mistake that pydantic or a rule of the tree found."""
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "need")
        message = message.replace("greater than or equal to", ">=").replace("greater than", ">").replace("less than", "<")
        if problem["type"] == "value_error":
            yield from ((place, sentence) for sentence in re.split(r"; (?!got )", message))
        else:
            default = f" (default {_DEFAULTS[place]})" if place in _DEFAULTS else ""
            yield place, f"{message}, got {mask_url(repr(problem['input']))}{default}"


def _blamed(place: str, sentence: str, given: Mapping[str, Any]) -> list[str]:
    """The given keys that a mistake at `place` is about: itself, or of a group those that the sentence names, else all."""
    inside = [key for key in given if place == "" or key == place or key.startswith(f"{place}.") or place.startswith(f"{key}.")]
    named = [key for key in inside if key.rpartition(".")[2] in re.findall(r"\w+", sentence)]
    return named or inside


def _flatten(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return tree


_DEFAULTS = dict(_flatten(Settings().model_dump()))
_GROUPS = list(dict.fromkeys(".".join(key.split(".")[:n]) for key in _DEFAULTS for n in range(1, key.count(".") + 1)))
