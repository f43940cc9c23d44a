"""Resolve the settings: defaults < profile < YAML file < `--set` < flags. All mistakes are reported at once."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic import ValidationError

from model.config import Config
from model.text import stress
from objective.settings.flags import FLAGS
from objective.settings.schema import PROFILES, Settings, SettingsError, mask_url
from objective.settings.telegram_env import Setup, SetupError
from pruners.thresholds import RENAMED
from search_spaces.space import load
from search_spaces.validate import SpaceError
from search_spaces.yaml_reader import parse, read

_FLAG_OF = {flag.key: name for name, flag in FLAGS.items()} | {"quiet": "--quiet"}
_SECRET = re.compile(r"(?i)token|passw|secret|credential|api_?key")


def resolve(
    settings_file: Path | None,
    assignments: Sequence[str],
    flags: Mapping[str, Any],
    *,
    gpu: bool,
    start: Mapping[str, Any] | None = None,
    check: Callable[[Settings], Iterable[str]] = lambda settings: (),
) -> Settings:
    """Return the settings of a run. Raises SettingsError with all mistakes.

    assignments: the `key=value` pairs of `--set`. flags: values by dotted key, None where a flag was not given. gpu: whether
    torch can use one; with a GPU and the user's own recordings the default profile is full, else demo. start: values by dotted
    key that all others override. check: finds mistakes
    outside of the tree, such as `absent`; it runs on the settings without those that were found wrong.
    """
    mistakes: list[str] = []
    given: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, key, value in (
        *(("settings", key, value) for key, value in (start or {}).items()),
        *_from_file(settings_file, mistakes),
        *_from_assignments(assignments, mistakes),
        *((_FLAG_OF.get(key, key), key, value) for key, value in flags.items() if value is not None),
    ):
        mistake = _mistake(key, value)
        if mistake:
            mistakes.append(f"{where}: {key}: {mistake}")
        else:
            given[key], origin[key] = value, where
    if given.get("profile", "auto") == "auto":
        own_data_on_gpu = gpu and given.get("device") != "cpu" and given.get("data.path") is not None
        given["profile"] = "full" if own_data_on_gpu else "demo"
    base = _DEFAULTS | PROFILES.get(str(given["profile"]), {})
    base |= _reports_that_fit(given)
    while True:
        try:
            settings = Settings.model_validate(_nest(base | given))
            break
        except ValidationError as error:
            # Wrong values are removed and the rest is validated again, so that no mistake hides another.
            blamed = [(sentence, _blamed(place, sentence, given)) for place, sentence in _sentences(error)]
            if not all(keys for _, keys in blamed):
                raise  # the defaults contradict each other: a bug
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
    """Yield a sentence for each thing that the settings name and this machine lacks: files, a writable folder, a GPU."""
    path, out = settings.data.path, settings.out
    if path is not None:
        try:
            path.stat()
        except OSError as error:
            yield f"data.path: need a folder or a list of recordings, got {path.absolute()}: {_why(error)}"
    if settings.data.stress == "silero" and (sentence := stress.missing()):
        yield sentence
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
    if settings.device != "cpu" and settings.study.ray is None:  # nodes of a Ray cluster may have what this machine lacks
        from objective.settings.device import device_of  # here, because it imports torch, which takes seconds

        try:
            device_of(settings.device)
        except SettingsError as error:
            yield from error.mistakes


def _reports_that_fit(given: Mapping[str, Any]) -> dict[str, int]:
    """The number of reports for a budget of fewer kframes than there are reports by default, unless it is given."""
    kframes, default = str(given.get("budget.kframes")), _DEFAULTS["budget.reports"]
    return (
        {"budget.reports": int(kframes)}
        if kframes.isdecimal() and 0 < int(kframes) < default and "budget.reports" not in given
        else {}
    )


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _from_file(path: Path | None, mistakes: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield (where, key, value) from a YAML file, whose keys may be nested, dotted or both."""
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
    for key, value in _leaves(_of_trial(table)):
        if key in seen:
            mistakes.append(f"{path}: {key}: is set twice, nested and dotted: keep one")
        seen.add(key)
        if value is not None or key not in _GROUPS:  # a group whose lines are all commented out sets nothing
            yield str(path), key, value


def _of_trial(table: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the settings in a trial's config.yaml, which describes the trial as well; any other table as it is."""
    if not {"trial", "params", "network"} <= table.keys():
        return table
    groups = {group.name: table[group.name] for group in fields(Config) if group.name in table}
    data = {name: table[name] for name in ("language", "input", "stress") if name in table}
    return {**groups, "data": data, "budget": {"kframes": table["budget_kframes"]}}


def _from_assignments(assignments: Sequence[str], mistakes: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield (where, key, value) from each `key=value`, whose value is YAML: a list, a number, null."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        try:
            if not equals or not key.strip():
                raise ValueError(f"need key=value, got {'no key' if equals else 'no `=`'}")
            yield "--set", key.strip(), parse(text)
        except ValueError as error:
            shown = "(not shown)" if not equals and _SECRET.search(key) else key.strip()
            mistakes.append(f"--set: {shown}: {error}")


def _mistake(key: str, value: Any) -> str | None:
    """The reason why this key cannot be set, or not to this kind of value."""
    if key in _GROUPS:
        return f"is a group, need one of its settings: {', '.join(_in_group(key))}"
    if key not in _DEFAULTS:
        secret = "secrets come from the environment only: remove it here"
        return secret if _SECRET.search(key) else f"unknown: {_suggestion(key)}"
    if value == "":
        return "need a value, got nothing: leave it out for the default"
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):  # undecodable bytes of the command line
        return f"need UTF-8, got {value!r}: rename it"
    # pydantic accepts true as 1, and infinity as a number in the dataclasses of the model.
    numeric = type(_DEFAULTS[key]) in (int, float)
    if numeric and (isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))):
        return f"need a finite number, got {value} (default {_DEFAULTS[key]})"
    return None


def _in_group(group: str) -> list[str]:
    return [key for key in _DEFAULTS if key.startswith(f"{group}.")]


def _suggestion(key: str) -> str:
    """The nearest known setting, by its full name or the last part of it; else the names to choose from."""
    today = ".".join(RENAMED.get(part, part) for part in key.split("."))
    if today != key and today in (*_GROUPS, *_DEFAULTS):
        return f"did you mean {today}?"
    group, _, last = key.rpartition(".")
    known = _in_group(group) if group in _GROUPS else [*_GROUPS, *_DEFAULTS]
    spellings = {name.rpartition(".")[2]: name for name in reversed(known)} | {name: name for name in known}
    close = get_close_matches(key, spellings, n=1, cutoff=0.7) or get_close_matches(last, spellings, n=1, cutoff=0.7)
    if close:
        return f"did you mean {spellings[close[0]]}?"
    top = dict.fromkeys(name.partition(".")[0] for name in known)
    return f"need one of {', '.join(known if group in _GROUPS else top)}"


def _sentences(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield (dotted place, sentence) for each mistake that pydantic or a rule of the tree found."""
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
    """The given keys that a mistake at `place` is about. In a group: those that the sentence names, else all of the group."""
    inside = [key for key in given if place == "" or key == place or key.startswith(f"{place}.") or place.startswith(f"{key}.")]
    named = [key for key in inside if key.rpartition(".")[2] in re.findall(r"\w+", sentence)]
    return named or inside


def flattened(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the settings in nested groups by dotted name; those that this version does not have are left out."""
    return {key: value for key, value in _leaves(tree) if key in _DEFAULTS}


def settings_of(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file by dotted name. Raises SettingsError with all mistakes of its form."""
    mistakes: list[str] = []
    found = {key: value for _, key, value in _from_file(path, mistakes)}
    if mistakes:
        raise SettingsError(mistakes)
    return found


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
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


_DEFAULTS = dict(_leaves(Settings().model_dump()))
_GROUPS = list(dict.fromkeys(".".join(key.split(".")[:n]) for key in _DEFAULTS for n in range(1, key.count(".") + 1)))
